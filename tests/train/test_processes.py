"""Starting and ending processes, with small ones in place of those that train."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from orcac.errors import InputError, OrcacError
from orcac.train import processes
from orcac.train.launch import Command

HEAD = "import os, signal, sys, time, pathlib\nfrom orcac.train import processes\nprocesses.obey_starter()\n"


def ranks(*scripts):
    return [
        Command(line=[sys.executable, "-c", HEAD + textwrap.dedent(script)], environment={"RANK": str(rank)}, rank=rank)
        for rank, script in enumerate(scripts)
    ]


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(processes, "_GRACE_S", 0.3)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_only_the_first_rank_speaks(tmp_path, capfd):
    processes.run(
        ranks("print('step 1', file=sys.stderr)\nprint('noise')", "print('step 1', file=sys.stderr)"), tmp_path
    )
    assert capfd.readouterr() == ("", "step 1\n")


def test_a_rank_that_is_killed_ends_the_others(tmp_path):
    waiting = f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    killed = f"""
        while not pathlib.Path({str(tmp_path / "pid")!r}).exists():
            time.sleep(0.01)
        print("\\x1eso far so good", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(OrcacError, match=r"rank 1 of 2 was ended by SIGKILL\n    \[rank 1\] so far so good") as error:
        processes.run(ranks(waiting, killed), tmp_path)
    assert "memory" in error.value.fix
    assert not is_alive((tmp_path / "pid").read_text())


def test_a_killed_rank_is_named_though_another_failed_of_it_and_was_seen_first(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE_S", 10.0)
    failing = f"pathlib.Path({str(tmp_path / 'failed')!r}).touch()\nsys.exit(1)"
    killed = f"""
        while not pathlib.Path({str(tmp_path / "failed")!r}).exists():
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(OrcacError, match="rank 1 of 2 was ended by SIGKILL"):
        processes.run(ranks(failing, killed), tmp_path)


def test_what_a_rank_tells_is_raised_as_it_was(tmp_path):
    tell = f"""
        from orcac.errors import InputError
        processes.tell({{error}}, rank=1, work=pathlib.Path({str(tmp_path)!r}))
        os._exit(1)
    """
    telling = tell.format(error="InputError('no rows', fix='bring some')")
    with pytest.raises(InputError, match="no rows") as error:
        processes.run(ranks("time.sleep(600)", telling), tmp_path)
    assert error.value.fix == "bring some"
    with pytest.raises(OSError) as refused:
        processes.run(ranks("os._exit(1)", tell.format(error="OSError(28, 'No space left', '/s/x')")), tmp_path)
    assert (refused.value.errno, refused.value.filename) == (28, "/s/x")
    with pytest.raises(OrcacError, match="rank 0 of 1 ended with exit code 3") as other:  # an older word is not taken
        processes.run(ranks("os._exit(3)"), tmp_path)
    assert type(other.value) is OrcacError


@pytest.mark.parametrize("told", ["us", "one of them"])
def test_told_to_stop_all_save_and_the_stage_can_go_on(tmp_path, told):
    folder = f"pathlib.Path({str(tmp_path)!r})"
    saving = f"""
        rank = os.environ["RANK"]
        def save(*_):
            ({folder} / f"saved-{{rank}}").touch()
            os._exit(143)
        signal.signal(signal.SIGTERM, save)
        ({folder} / f"ready-{{rank}}").touch()
        while len(list({folder}.glob("ready-*"))) < 2:
            time.sleep(0.01)
        if {told == "one of them"} and rank == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    """
    if told == "us":
        ready = f"while len(list({folder}.glob('ready-*'))) < 2: time.sleep(0.01)\n"
        tell = f"import os, pathlib, signal, time\n{ready}os.kill({os.getpid()}, signal.SIGTERM)"
        subprocess.Popen([sys.executable, "-c", tell])
    with pytest.raises(SystemExit) as stopped:
        processes.run(ranks(saving, saving), tmp_path)
    assert stopped.value.code == 143
    assert {path.name for path in tmp_path.glob("saved-*")} == {"saved-0", "saved-1"}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_none_outlives_its_starter(tmp_path):
    started = tmp_path / "started"
    started.mkdir()
    rank = f"os.fork()\npathlib.Path({str(started)!r}, str(os.getpid())).touch()\ntime.sleep(600)"
    script = f"""
from pathlib import Path
from orcac.train import processes
from orcac.train.launch import Command
processes.run([Command(line=line, environment={{}}, rank=0) for line in {[one.line for one in ranks(rank, rank)]!r}],
              Path({str(tmp_path)!r}))
"""
    starter = subprocess.Popen([sys.executable, "-c", script])
    while len(list(started.iterdir())) < 4:  # two ranks, and what each of them started
        assert starter.poll() is None
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    pids = [path.name for path in started.iterdir()]
    until = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))
