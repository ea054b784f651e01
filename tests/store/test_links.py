"""Tests of orcac/store/links.py and its users: what a hostile store could overwrite or remove outside itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orcac.chat.ledger.files import open_files
from orcac.chat.ledger.sealing import seal
from orcac.cli.make import _Tee
from orcac.errors import StoreError
from orcac.store import garbage
from orcac.store.lease import acquire, try_acquire
from orcac.store.links import is_inside
from orcac.store.store import Store

REF = "train/0123456789abcdef0123"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one artifact, which has a file in a subfolder."""
    store = Store(tmp_path / "store")
    with store.lease(REF):
        out = store.folder(REF) / "work" / "out"
        (out / "model").mkdir(parents=True)
        (out / "model" / "config.json").write_text("{}")
        store.publish(REF, out, {"ref": REF, "summary": {}})
    return store


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside the store, with the names that a job writes and removes."""
    folder = tmp_path / "victim"
    for name in ("out/thesis.txt", "model/config.json", "lease.lock", "log.txt", "1-of-2/work/out/thesis.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")
    return folder


def read(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def plant(path: Path, victim: Path) -> None:
    """Put a link in the place of `path`."""
    if path.exists():
        path.rename(path.with_name(f"{path.name}-before"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)


@pytest.mark.parametrize("name", ["", "train", REF, f"{REF}/work", f"{REF}/shards", f"{REF}/model"])
def test_a_link_in_the_place_of_a_folder_is_refused_by_its_name(store: Store, victim: Path, name: str) -> None:
    if not name:  # the store itself may be a link: its owner made it
        plant(store.root, store.root.with_name("store-before"))
        assert store.verify(REF)
        return
    plant(store.root / name, victim)
    before = read(victim)
    shard = f"{REF}/shards/1-of-2" if name.endswith("shards") else REF
    with pytest.raises(StoreError, match=f"{name}: is .* not followed"), store.lease(shard):
        pass
    assert read(victim) == before


@pytest.mark.parametrize("name", ["lease.lock", "lease.json", "artifact.json", "complete.json", "log.txt"])
def test_a_link_in_the_place_of_a_file_is_refused(store: Store, victim: Path, name: str) -> None:
    plant(store.folder(REF) / name, victim / "log.txt")
    with pytest.raises(StoreError, match="not followed"), store.lease(REF):
        pass
    assert read(victim)[str(victim / "log.txt")] == "years of work"


def test_a_pipe_in_the_place_of_a_lease_holds_up_no_job(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    os.mkfifo(tmp_path / "node" / "lease.json")
    os.utime(tmp_path / "node" / "lease.json", (0, 0))
    os.mkfifo(tmp_path / "node" / "lease.lock")
    with try_acquire(tmp_path / "node") as is_free:
        assert is_free


def test_a_job_removes_the_links_in_its_work_and_nothing_behind_them(store: Store, victim: Path) -> None:
    before = read(victim)
    plant(store.folder(REF) / "work" / "out", victim)
    plant(store.folder(REF) / "work" / "checkpoints" / "7", victim)
    with store.lease(REF):
        assert not list((store.folder(REF) / "work").glob("*out*"))
        assert not list((store.folder(REF) / "work" / "checkpoints").iterdir())
    assert read(victim) == before


def test_an_artifact_is_not_read_through_a_link(store: Store, victim: Path) -> None:
    (victim / "model" / "config.json").write_text("{}")  # as recorded
    plant(store.folder(REF) / "model", victim / "model")
    for use in (store.artifact, store.verify):
        with pytest.raises(StoreError, match="model: is a link"):
            use(REF)
    assert [damage.path.name for damage in store.find_damage(REF)] == ["model"]
    with pytest.raises(StoreError, match="not followed"):
        store.publish(REF, victim, {})


@pytest.mark.parametrize("name", [REF, "train", f"{REF}/work", f"{REF}/shards", ".trash"])
@pytest.mark.parametrize("use", [Store.drop, None])
def test_nothing_is_removed_through_a_link(
    store: Store, victim: Path, name: str, use: Callable[[Store, str], None] | None
) -> None:
    (victim / Path(REF).name).mkdir()
    (victim / Path(REF).name / "artifact.json").write_text("{}")
    before = read(victim)
    plant(store.root / name, victim)
    try:
        if use:
            use(store, REF)
        for item in garbage.find(store, reached=()).items:
            garbage.remove(store, item)
    except StoreError as error:
        assert "not followed" in error.message
    assert read(victim) == before


@pytest.mark.parametrize("name", ["answers", "answers/budgets", "answers/host-1-0123abcd.jsonl"])
def test_the_ledger_is_not_read_or_sealed_through_a_link(store: Store, victim: Path, name: str) -> None:
    """Sealing replaces logs by a new file, so it would remove the JSON Lines of any folder."""
    for number in range(20):
        (victim / f"{number}.jsonl").write_text('{"data": "of another program"}\n')
        os.utime(victim / f"{number}.jsonl", (0, 0))
    before = read(victim)
    plant(store.root / name, victim / "1.jsonl" if name.endswith(".jsonl") else victim)
    for use in (seal, open_files):
        with pytest.raises(StoreError, match="not followed"):
            use(store.answers)
    assert read(victim) == before


def test_a_log_is_not_appended_to_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "log.txt").symlink_to(victim / "log.txt")
    with pytest.raises(OSError):
        _Tee(open(os.devnull, "w"), tmp_path / "log.txt")  # noqa: SIM115, PTH123
    assert (victim / "log.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "model/../../x",
        "/etc/passwd",
        "model//x",
        "./x",
        "a\\..\\b",
        "a\nb",
        "work/x",
        "artifact.json",
        "log.txt",
    ],
)
def test_a_record_names_only_its_own_files(store: Store, name: str) -> None:
    """An export once wrote the files of such a record to `../../.ssh`."""
    assert is_inside("model/config.json")
    for path in store.folder(REF).glob("*t*.json"):
        record = json.loads(path.read_text())
        record["files"] = {name: {"sha256": "0" * 64, "bytes": 1}}
        path.write_text(json.dumps(record))
    with pytest.raises(StoreError, match="the record is damaged"):
        store.artifact(REF)


def test_a_folder_that_is_a_link_is_not_leased(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "job").symlink_to(victim)
    with pytest.raises(StoreError, match="job: is a link"), acquire(tmp_path / "job"):
        pass
