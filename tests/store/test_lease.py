"""Tests of orcac/store/lease.py: one maker at a time, a lease freed at once by a kill, a folder that is moved away."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S

from orcac.store.lease import acquire, is_leased, try_acquire
from orcac.store.store import Store

REF = "sample/0123456789abcdef0123"


def write(root: Path, log: Path) -> None:
    with Store(root).lease(REF), log.open("a") as file:
        file.write("in\n")
        file.flush()
        time.sleep(0.05)
        file.write("out\n")


def test_one_maker_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    makers = [multiprocessing.get_context("fork").Process(target=write, args=(tmp_path, log)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert log.read_text().split() == ["in", "out"] * 4
    assert not is_leased(tmp_path / REF)


def test_the_lease_of_a_killed_maker_is_free_at_once(tmp_path: Path) -> None:
    code = "import time; from pathlib import Path; from orcac.store.store import Store\n"
    code += f"with Store(Path({str(tmp_path)!r}))"
    code += f".lease({REF!r}): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert is_leased(tmp_path / REF)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not is_leased(tmp_path / REF)
    with Store(tmp_path).lease(REF):
        assert is_leased(tmp_path / REF)


def test_the_lease_of_another_host_is_free_when_its_heart_stops(tmp_path: Path) -> None:
    folder = tmp_path / REF
    folder.mkdir(parents=True)
    lease = folder / "lease.json"
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    assert is_leased(folder)
    os.utime(lease, (time.time() - 61, time.time() - 61))
    assert not is_leased(folder)


def test_a_process_that_does_not_wait_gets_a_free_lease_and_makes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    with try_acquire(tmp_path) as acquired:
        assert not acquired
    assert is_leased(tmp_path), "another process's lease is gone"
    (tmp_path / "lease.json").unlink()
    with try_acquire(tmp_path) as acquired:
        assert acquired
        assert is_leased(tmp_path)
    with try_acquire(tmp_path / "none") as acquired:
        assert not acquired
    assert not (tmp_path / "none").exists()


def test_a_process_that_waits_for_a_folder_that_is_moved_away_makes_it_again(tmp_path: Path) -> None:
    folder, acquired = tmp_path / "node", threading.Event()
    folder.mkdir()
    (folder / "lease.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))

    def wait() -> None:
        with acquire(folder, on_wait=lambda holder: folder.rename(tmp_path / "trash"), poll_seconds=0.01):
            acquired.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiter.join(timeout=PATIENCE_S)
    assert acquired.is_set()
    assert (tmp_path / "trash" / "lease.json").exists()


@pytest.mark.parametrize(
    "text", ["", "3", "[]", "{}", '{"host": 3}', '{"host": "x", "pid": [], "started": {}}', "[" * 9**5]
)
def test_a_lease_of_any_content_counts_by_its_age(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(text)
    assert is_leased(tmp_path)
    with try_acquire(tmp_path) as acquired:
        assert not acquired
    os.utime(path, (0, 0))
    assert not is_leased(tmp_path)
    with try_acquire(tmp_path) as acquired:
        assert acquired
