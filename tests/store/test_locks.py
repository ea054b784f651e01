"""Tests of orcac/store/locks.py: one owner at a time, also after kills, without `flock` and with clocks that differ."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orcac.store import locks
from orcac.store.locks import file_system_time, has_ended, read_owner, release, take, try_hold

WORKER = """
import sys, time
from pathlib import Path
from orcac.store.locks import release, take
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(rounds):
    while not take(folder / "owner", clock=folder / "clock"):
        time.sleep(0.002)
    inside = folder / "inside"
    inside.open("x").close()  # raises FileExistsError if two are here
    with (folder / "log").open("a") as log:
        log.write("x")
    inside.unlink()
    release(folder / "owner")
"""
HOLDER = """
import sys, time
from pathlib import Path
from orcac.store.locks import {name}
with {call} as held:
    print(held, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)


def write_owner(path: Path, *, host: str = "elsewhere", pid: int = 1, age: float = 0) -> None:
    path.write_text(json.dumps({"host": host, "pid": pid, "started": "1"}))
    now = file_system_time(path)
    os.utime(path, (now - age, now - age))


def find_ended_process() -> dict[str, object]:
    """Return the record of a process of this host that has ended."""
    code = "import json; from orcac.store import locks; print(json.dumps(locks._own_record()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


def test_one_process_at_a_time_owns_a_file_whose_owner_was_killed(tmp_path: Path) -> None:
    (tmp_path / "clock").touch()
    (tmp_path / "owner").write_text(json.dumps(find_ended_process()))
    token = read_owner(tmp_path / "owner").token
    # and the process that was about to remove that file was killed as well
    (tmp_path / f"owner.{token}").write_text(json.dumps(find_ended_process()))
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, tmp_path, "25"]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "x" * 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clock", "log"]


def test_a_slow_process_removes_no_file_of_a_new_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "owner", tmp_path / "clock"
    clock.touch()
    path.write_text(json.dumps(find_ended_process()))
    has_owner_ended = locks._has_ended

    def pause(*arguments: object) -> bool:
        monkeypatch.undo()
        assert take(path, clock=clock), "another process takes it over meanwhile"
        assert has_owner_ended(*arguments), "as the slow process has read before"
        return True

    monkeypatch.setattr(locks, "_has_ended", pause)
    # `pause` runs between the reading and the removal
    assert not take(path, clock=clock)
    assert locks.is_own(path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["clock", "owner"]


@pytest.mark.parametrize("lead_s", [-7200, 7200])
def test_the_clock_of_the_host_decides_no_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lead_s: int) -> None:
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + lead_s)
    path, clock = tmp_path / "owner", tmp_path / "clock"
    clock.touch()
    write_owner(path, age=50)
    assert not has_ended(path, clock=clock)
    assert not take(path, clock=clock)
    write_owner(path, age=70)
    assert has_ended(path, clock=clock)
    assert take(path, clock=clock)
    release(path)
    assert has_ended(path, clock=clock)


def test_an_age_is_counted_by_the_host_where_nothing_may_be_touched(tmp_path: Path) -> None:
    write_owner(tmp_path / "owner", age=70)
    assert has_ended(tmp_path / "owner", clock=tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("has_flock", [True, False])
def test_a_lock_is_held_once_and_free_after_a_kill(
    tmp_path: Path, request: pytest.FixtureRequest, has_flock: bool
) -> None:
    environment = dict(os.environ)
    if not has_flock:
        request.getfixturevalue("no_flock")
        text = "import errno, fcntl\ndef refuse(*_):\n    raise OSError(errno.ENOSYS, 'no')\nfcntl.flock = refuse\n"
        (tmp_path / "sitecustomize.py").write_text(text)
        environment["PYTHONPATH"] = str(tmp_path)
    lock = tmp_path / "a.lock"
    with try_hold(lock) as held, try_hold(lock) as again:
        assert held and not again
    code = HOLDER.format(name="try_hold", call="try_hold(Path(sys.argv[1]))")
    with subprocess.Popen([sys.executable, "-c", code, lock], env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"True\n"
        with try_hold(lock) as held:
            assert not held
        child.send_signal(signal.SIGKILL)
        child.wait()
    with try_hold(lock) as held:
        assert held


def test_an_error_that_is_not_a_lack_of_locks_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match="broken"), try_hold(tmp_path / "a.lock"):
        pass


def test_an_owner_file_that_another_host_replaces_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clock").touch()
    assert take(tmp_path / "owner", clock=tmp_path / "clock")
    read, failures = os.fstat, [OSError(errno.ESTALE, "stale")]

    def stale_once(descriptor: int) -> os.stat_result:
        if failures:
            raise failures.pop()
        return read(descriptor)

    monkeypatch.setattr(os, "fstat", stale_once)
    assert locks.is_own(tmp_path / "owner")
    assert not failures


def test_a_full_disk_leaves_no_owner_file(tmp_path: Path) -> None:
    """An empty file once kept every other process waiting for a minute."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError):
            take(tmp_path / "owner", clock=tmp_path / "clock")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not (tmp_path / "owner").exists() and take(tmp_path / "owner", clock=tmp_path / "clock")
