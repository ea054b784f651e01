"""Tests of orcac/store/store.py: whole artifacts or none, damage found where it is, one maker at a time."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from orcac.errors import StoreError
from orcac.store.lease import is_leased
from orcac.store.store import Store, disk_errors

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
    store.record_error(REF, "the reason why the last try failed", 1)
    publish(store)
    assert list(store.artifact(REF)["files"]) == ["sub/a.txt"]
    assert store.verify(REF) == tmp_path / REF
    assert not (tmp_path / REF / "work").exists()
    assert not (tmp_path / REF / "error.json").exists()


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


@pytest.mark.parametrize("text", ['{"files": ', "[" * 100_000])
def test_a_damaged_record_is_an_error_with_a_fix(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    publish(store)
    store.marker(REF).write_text(text)
    with pytest.raises(StoreError, match=r"artifact\.json: the record is damaged"):
        store.verify(REF)


def test_a_full_disk_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nothing").read_text()


def test_a_run_that_lost_its_lease_publishes_nothing_and_leaves_the_new_holder_alone(tmp_path: Path) -> None:
    store, lease = Store(tmp_path), tmp_path / REF / "lease.json"
    out = store.folder(REF) / "work" / "out"
    with store.lease(REF):
        out.mkdir(parents=True)
        lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
        with pytest.raises(StoreError, match="took it over"):
            store.publish(REF, out, {})
    assert is_leased(tmp_path / REF)
    assert not store.is_done(REF)


def test_all_damage_is_listed_and_a_dropped_artifact_counts_as_not_made(tmp_path: Path) -> None:
    store, folder = Store(tmp_path), tmp_path / REF
    out = folder / "work" / "out"
    (out / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (out / name).write_text(name)
    with store.lease(REF):
        store.publish(REF, out, {"ref": REF, "summary": {}})
    (folder / "work").mkdir()
    (folder / "work" / "checkpoint").write_text("days of work")
    (folder / "log.txt").write_text("")
    (folder / "a.txt").write_text("A.txt")
    (folder / "sub" / "c.txt").unlink()
    hashed: list[int] = []
    assert [damage.path.name for damage in store.find_damage(REF, hashed.append)] == ["a.txt", "c.txt"]
    assert sum(hashed) == 10, "of the two files that are there"
    with store.lease(REF):
        store.drop(REF)
    assert not store.has_record(REF)
    assert {path.name for path in folder.iterdir()} == {"work", "log.txt", "lease.lock"}
    assert (folder / "work" / "checkpoint").exists()


def test_dropping_a_damaged_marker_alone_loses_no_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    store.marker(REF).write_text('{"files": {"sub/a.txt": 1}}')
    assert [damage.path for damage in store.find_damage(REF)] == [store.marker(REF)]
    with store.lease(REF):
        store.drop(REF)
    assert not store.is_done(REF)
    assert store.republish(REF)
    assert not list(store.find_damage(REF))


def test_a_store_lists_its_nodes_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    for other in ("answers/host.jsonl", f"mine/{REF[7:]}/notes.txt", "sample/readme/artifact.json", ".trash/x/y"):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text("")
    assert store.refs() == [REF]


@pytest.mark.parametrize(
    "file",
    [f"{REF}/lease.lock", "answers/host.org-4711-0a1b2c3d.jsonl", "answers/0123456789abcdef.parquet"],
)
def test_a_store_is_known_by_its_artifacts_and_answers(tmp_path: Path, file: str) -> None:
    store = Store(tmp_path / "store")
    assert not store.is_begun
    for other in ("app.js", "answers/mine.jsonl", f"deep/er/{REF}/artifact.json", "train/first/artifact.json"):
        (store.root / other).parent.mkdir(parents=True, exist_ok=True)
        (store.root / other).write_text("")
    assert not store.is_begun
    (store.root / file).parent.mkdir(parents=True, exist_ok=True)
    (store.root / file).write_text("")
    assert store.is_begun


def list_tree(folder: Path) -> list[tuple[str, int, int, int]]:
    """Return (name, mode, size, time of change) of everything in a folder."""
    found = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), facts.st_mode, facts.st_size, facts.st_mtime_ns) for path, facts in found]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """The folder of an upstream with one artifact."""
    publish(Store(tmp_path / "lab"))
    return tmp_path / "lab"


def test_an_artifact_of_the_upstream_is_read_where_it_is(tmp_path: Path, lab: Path) -> None:
    before = list_tree(lab)
    store = Store(tmp_path / "mine", lab)
    assert store.is_done(REF) and store.is_upstream(REF) and store.has_record(REF) and not store.is_own(REF)
    assert store.verify(REF) == store.find_folder(REF) == lab / REF
    assert store.marker(REF) == lab / REF / "artifact.json"
    assert store.artifact(REF)["ref"] == REF and not list(store.find_damage(REF))
    assert store.folder(REF) == tmp_path / "mine" / REF and store.refs() == []
    assert store.list_finished(REF.partition("/")[0]) == [REF] and store.list_finished("train") == []
    assert not store.own.is_done(REF) and not Store(tmp_path / "mine").is_done(REF)
    assert list_tree(lab) == before


def test_the_own_artifact_counts_before_that_of_the_upstream_even_without_its_marker(tmp_path: Path, lab: Path) -> None:
    store = Store(tmp_path / "mine", lab)
    before = list_tree(lab)
    publish(store, "my own")
    for _ in range(2):
        assert store.verify(REF) == tmp_path / "mine" / REF and not store.is_upstream(REF)
        (tmp_path / "mine" / REF / "artifact.json").unlink(missing_ok=True)
    assert store.republish(REF) and store.is_own(REF)
    store.drop(REF)
    assert store.is_upstream(REF) and list_tree(lab) == before


def test_an_artifact_whose_record_alone_was_fetched_is_pulled_and_not_repaired(tmp_path: Path, lab: Path) -> None:
    """So it is with an upstream at a URL until `orcac run` pulls the files."""
    marker = tmp_path / "mirror" / REF / "artifact.json"
    marker.parent.mkdir(parents=True)
    marker.write_bytes((lab / REF / "artifact.json").read_bytes())
    with pytest.raises(StoreError, match=f"{REF}: its files were not pulled") as caught:
        Store(tmp_path / "mine", tmp_path / "mirror").verify(REF)
    assert "orcac pull" in caught.value.fix


def test_damage_in_the_upstream_is_found_on_use_and_the_fix_changes_nothing_there(tmp_path: Path, lab: Path) -> None:
    (lab / REF / "sub" / "a.txt").write_text("hellO")
    with pytest.raises(StoreError, match=r"lab/.*sub/a\.txt: the file is damaged") as caught:
        Store(tmp_path / "mine", lab).verify(REF)
    assert "remove `upstream` from orcac.toml" in caught.value.fix and "--repair" not in caught.value.fix


@pytest.mark.parametrize("name", ["sub/a.txt", "sub", "model.bin"])
def test_links_in_an_artifact_of_the_upstream_are_not_followed(tmp_path: Path, lab: Path, name: str) -> None:
    """A link to a private file could be exported or published with the artifact."""
    path, aside = lab / REF / name, tmp_path / "aside"
    if path.exists():
        path.rename(aside)
    else:
        aside.write_text("secret")
    path.symlink_to(aside)
    store = Store(tmp_path / "mine", lab)
    for read in (store.verify, store.artifact):
        with pytest.raises(StoreError, match="is not followed"):
            read(REF)
    assert [damage.path for damage in store.find_damage(REF)] == [path]


def test_a_marker_that_is_a_link_does_not_count(tmp_path: Path, lab: Path) -> None:
    marker = lab / REF / "artifact.json"
    marker.rename(tmp_path / "aside.json")
    marker.symlink_to(tmp_path / "aside.json")
    assert not Store(tmp_path / "mine", lab).is_done(REF)


@pytest.mark.parametrize("name", ["../../x", "/etc/hostname", "sub/../../x", ""])
def test_a_record_that_names_a_file_outside_its_folder_is_damaged(tmp_path: Path, lab: Path, name: str) -> None:
    record = json.loads((lab / REF / "artifact.json").read_text())
    record["files"] = {name: {"sha256": "0" * 64, "bytes": 1}}
    for file in ("artifact.json", "complete.json"):
        (lab / REF / file).write_text(json.dumps(record))
    for store in (Store(lab), Store(tmp_path / "mine", lab)):
        with pytest.raises(StoreError, match="the record is damaged"):
            store.verify(REF)
