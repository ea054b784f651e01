"""Tests of orcac/store/garbage.py: wanted, leased and paid files stay, and a kill leaves no half artifact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orcac.store.garbage import find, remove
from orcac.store.store import Store

KEPT, GONE = "sample/00000000000000000001", "collect/00000000000000000002"
ELSEWHERE = json.dumps({"host": "elsewhere", "pid": 1, "started": "1"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for ref in (KEPT, GONE):
        out = store.folder(ref) / "work" / "out"
        out.mkdir(parents=True)
        (out / "data").write_text("12345")
        with store.lease(ref):
            store.publish(ref, out, {"ref": ref, "label": "made"})
    store.answers.mkdir()
    (store.answers / "host-1.jsonl").write_text("paid for\n")
    return store


def whole(store: Store) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def test_only_artifacts_that_no_plan_reaches_are_removed(store: Store) -> None:
    before = whole(store)
    (item,) = find(store, {KEPT}).items
    assert (item.category, item.ref, item.label) == ("artifact", GONE, "made")
    assert item.bytes > 5
    assert whole(store) == before, "looking changed something"
    assert remove(store, item)
    assert whole(store) == [name for name in before if not name.startswith(GONE)]
    assert find(store, {KEPT}).items == []
    assert not remove(store, item), "it is gone already"


def test_files_that_kills_leave_behind_are_removed_even_from_wanted_nodes(store: Store) -> None:
    folder, before = store.folder(KEPT), whole(store)
    (folder / "work").mkdir()
    (folder / "artifact.json.77.part").write_text("{")
    (folder / "lease.0123.old").write_text("{}")
    assert sorted(item.category for item in find(store, {KEPT, GONE}).items) == ["stray", "stray", "work"]
    for item in find(store, {KEPT, GONE}).items:
        assert remove(store, item)
    assert whole(store) == before
    store.marker(KEPT).unlink()
    (folder / "complete.json").unlink()
    (folder / "work").mkdir()
    assert find(store, {KEPT, GONE}).items == [], "the progress of a wanted node that is not done"


@pytest.mark.parametrize("part", ["", "shards/1-of-2"])
def test_a_leased_node_stays(store: Store, part: str) -> None:
    lease = store.folder(GONE) / part / "lease.json"
    (item,) = find(store, {KEPT}).items
    lease.parent.mkdir(parents=True, exist_ok=True)
    lease.write_text(ELSEWHERE)
    before = whole(store)
    assert not remove(store, item), "leased between the search and the removal"
    found = find(store, {KEPT})
    assert (found.items, found.in_use) == ([], [GONE])
    assert [name for name in whole(store) if not name.endswith(".lock")] == [
        name for name in before if not name.endswith(".lock")
    ]


def test_a_killed_removal_leaves_whole_artifacts_and_the_next_one_ends_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    (item,) = find(store, {KEPT}).items
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(store, item)
    assert not store.folder(GONE).exists()
    (trash,) = find(store, {KEPT}).items
    assert trash.category == "trash"
    assert trash.bytes >= item.bytes
    assert remove(store, trash)
    assert not (store.root / ".trash").exists()
    assert (store.answers / "host-1.jsonl").exists()
