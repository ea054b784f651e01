"""The store: whole artifacts or none, damage found where it is, one maker at a time."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orcac.errors import StoreError
from orcac.lease import is_leased
from orcac.store import Store, disk_errors

REF = "sample/0123456789abcdef0123"


def publish(store: Store, text: str = "hello") -> None:
    out = store.folder(REF) / "work" / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "a.txt").write_text(text)
    with store.lease(REF):
        store.publish(REF, out, {"ref": REF, "summary": {}})


def test_an_artifact_lists_its_files_and_leaves_no_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder(REF).mkdir(parents=True)
    store.note_error(REF, "what went wrong in the last try", 1)
    publish(store)
    assert list(store.artifact(REF)["files"]) == ["sub/a.txt"]
    assert store.verify(REF) == tmp_path / REF
    assert not (tmp_path / REF / "work").exists()
    assert store.error(REF) is None


def test_a_lost_marker_is_put_back_without_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    before = store.marker(REF).read_bytes()
    store.marker(REF).unlink()  # as Snakemake does to a job that it saw fail
    assert store.republish(REF)
    assert store.marker(REF).read_bytes() == before


def test_while_its_marker_is_away_an_artifact_still_serves(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    store.marker(REF).unlink()
    assert store.verify(REF) == tmp_path / REF


@pytest.mark.parametrize("harm", ["change", "cut", "remove"])
def test_damage_is_found_named_and_not_published_again(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path)
    publish(store)
    path = tmp_path / REF / "sub" / "a.txt"
    {"change": lambda: path.write_text("hellO"), "cut": lambda: path.write_text("hell"), "remove": path.unlink}[harm]()
    with pytest.raises(StoreError, match=r"sub/a\.txt") as caught:
        store.verify(REF)
    assert "run again" in caught.value.fix
    assert not store.republish(REF)


def test_a_damaged_record_is_an_error_with_a_fix(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    store.marker(REF).write_text('{"files": ')
    with pytest.raises(StoreError, match=r"artifact\.json: the record is damaged"):
        store.verify(REF)


def test_a_full_disk_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nothing").read_text()


def hold(root: Path, log: Path) -> None:
    with Store(root).lease(REF), log.open("a") as file:
        file.write("in\n")
        file.flush()
        time.sleep(0.05)
        file.write("out\n")


def test_one_maker_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    makers = [multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path, log)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert log.read_text().split() == ["in", "out"] * 4
    assert not is_leased(tmp_path / REF)


def test_the_lease_of_a_killed_maker_is_free_at_once(tmp_path: Path) -> None:
    code = f"import time; from pathlib import Path; from orcac.store import Store\nwith Store(Path({str(tmp_path)!r}))"
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


def test_who_lost_the_lease_publishes_nothing_and_leaves_the_new_holder_alone(tmp_path: Path) -> None:
    store, lease = Store(tmp_path), tmp_path / REF / "lease.json"
    out = store.folder(REF) / "work" / "out"
    with store.lease(REF):
        out.mkdir(parents=True)
        lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
        with pytest.raises(StoreError, match="took it over"):
            store.publish(REF, out, {})
    assert is_leased(tmp_path / REF)
    assert not store.is_done(REF)
