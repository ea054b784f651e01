"""Tests of orcac/train/processes.py: starting and ending processes that do not train."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S

from orcac.errors import InputError, OrcacError
from orcac.train import processes
from orcac.train.launch import Command

HEAD = "import os, signal, sys, time, pathlib\nfrom orcac.train import processes\nprocesses.watch_stdin()\n"


def ranks(*scripts):
    return [
        Command(line=[sys.executable, "-c", HEAD + textwrap.dedent(script)], environment={"RANK": str(rank)}, rank=rank)
        for rank, script in enumerate(scripts)
    ]


def run(scripts, work, *, grace_s=PATIENCE_S):
    processes.run(ranks(*scripts), work, poll_s=0.02, grace_s=grace_s)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_only_stderr_of_rank_0_is_shown(tmp_path, capfd):
    run(["print('step 1', file=sys.stderr)\nprint('noise')", "print('step 1', file=sys.stderr)"], tmp_path)
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
        run([waiting, killed], tmp_path, grace_s=0.3)
    assert "memory" in error.value.fix
    assert not is_alive((tmp_path / "pid").read_text())


def test_a_killed_rank_is_reported_even_if_another_that_failed_because_of_it_ended_first(tmp_path):
    failing = f"pathlib.Path({str(tmp_path / 'failed')!r}).touch()\nsys.exit(1)"
    killed = f"""
        while not pathlib.Path({str(tmp_path / "failed")!r}).exists():
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(OrcacError, match="rank 1 of 2 was ended by SIGKILL"):
        run([failing, killed], tmp_path)


def test_an_error_that_a_rank_recorded_is_raised_unchanged(tmp_path):
    record = f"""
        from orcac.errors import InputError
        processes.record_error({{error}}, rank=1, work=pathlib.Path({str(tmp_path)!r}))
        os._exit(1)
    """
    recording = record.format(error="InputError('no rows', fix='bring some')")
    with pytest.raises(InputError, match="no rows") as error:
        run(["time.sleep(600)", recording], tmp_path, grace_s=0.3)
    assert error.value.fix == "bring some"
    with pytest.raises(OSError) as refused:
        run(["os._exit(1)", record.format(error="OSError(28, 'No space left', '/s/x')")], tmp_path)
    assert (refused.value.errno, refused.value.filename) == (28, "/s/x")
    with pytest.raises(OrcacError, match="rank 0 of 1 ended with exit code 3") as other:  # not an older record
        run(["os._exit(3)"], tmp_path)
    assert type(other.value) is OrcacError


@pytest.mark.parametrize("receiver", ["starter", "rank 1"])
def test_after_a_sigterm_all_ranks_save(tmp_path, receiver):
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
        if {receiver == "rank 1"} and rank == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    """
    if receiver == "starter":
        ready = f"while len(list({folder}.glob('ready-*'))) < 2: time.sleep(0.01)\n"
        stop = f"import os, pathlib, signal, time\n{ready}os.kill({os.getpid()}, signal.SIGTERM)"
        subprocess.Popen([sys.executable, "-c", stop])
    with pytest.raises(SystemExit) as stopped:
        run([saving, saving], tmp_path)
    assert stopped.value.code == 143
    assert {path.name for path in tmp_path.glob("saved-*")} == {"saved-0", "saved-1"}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_no_process_outlives_its_starter(tmp_path):
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
    while len(list(started.iterdir())) < 4:  # two ranks with one child each
        assert starter.poll() is None
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    pids = [path.name for path in started.iterdir()]
    until = time.monotonic() + PATIENCE_S
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))
