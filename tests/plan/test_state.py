"""Tests of orcac/plan/state.py: states of nodes from the files that a running or killed job left in the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.plan.lower import lower
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_state
from orcac.spec.load import load
from orcac.store.store import Store

SPECS = Path(__file__).parents[2] / "specs"
LEASE = json.dumps({"host": "elsewhere", "pid": 1, "started": "1"})


@pytest.fixture
def node() -> Node:
    """A collect node of two shards."""
    plan = Plan()
    lower(plan, load(SPECS / "smoke.yaml"))
    return next(node for node in plan.nodes.values() if getattr(node.execution, "shards", 1) == 2)


def put(folder: Path, **files: object) -> None:
    """Write NAME.json files, with `__` in a name for `/`: a string as it is, any other value as JSON."""
    for name, value in files.items():
        path = folder / (name.replace("__", "/") + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))


def progress(done: int, total: int, rate: float = 2.0, usd: float = 0.5) -> dict[str, object]:
    return {"done": done, "total": total, "unit": "answers", "rate": rate, "usd": usd, "note": "", "eta_seconds": 1}


def test_each_state_is_recognized_by_its_files(tmp_path: Path, node: Node) -> None:
    store, folder = Store(tmp_path), tmp_path / node.ref
    assert read_state(store, node) == State(name="to do")
    put(folder, work__progress=progress(30, 100))
    half = State(name="partial", done=30, total=100, unit="answers", usd=0.5)
    assert read_state(store, node) == half
    put(folder, error={"message": "no key", "exit_code": 4})
    failed = State(name="failed", done=30, total=100, unit="answers", usd=0.5, error="no key", exit_code=4)
    assert read_state(store, node) == failed
    put(folder, lease=LEASE)
    assert read_state(store, node.ref) == State(
        name="making", done=30, total=100, unit="answers", rate=2.0, eta_seconds=35.0, usd=0.5
    )
    put(folder, artifact={"files": {}})
    assert read_state(store, node) == State(name="done")


def test_shards_are_summed(tmp_path: Path, node: Node) -> None:
    store, folder = Store(tmp_path), tmp_path / node.ref
    first, second = folder / "shards" / "1-of-2", folder / "shards" / "2-of-2"
    put(first, lease=LEASE, work__progress=progress(10, 50))
    state = read_state(store, node)
    assert (state.name, state.done, state.total) == ("making", 10, 100), "an unbegun shard counts like this one"
    assert [(shard.name, shard.done) for shard in state.shards] == [("making", 10), ("to do", None)]
    put(second, lease=LEASE, work__progress=progress(20, 49, rate=3.0, usd=1.0))
    state = read_state(store, node)
    assert (state.done, state.total, state.rate, state.usd) == (30, 99, 5.0, 1.5)
    assert state.eta_seconds == pytest.approx(69 / 5)
    (first / "lease.json").unlink()
    put(first, done={"shard": "1-of-2", "summary": {"prompts": 50, "usd": 2.0}})
    state = read_state(store, node)
    assert (state.name, state.done, state.total, state.rate, state.usd) == ("making", 70, 99, 3.0, 3.0)
    (second / "lease.json").unlink()
    assert read_state(store, node).name == "partial"
    put(folder, lease=LEASE, work__progress=progress(72, 99))
    state = read_state(store, node)
    assert (state.done, [shard.name for shard in state.shards]) == (72, ["done", "partial"]), (
        "the node asks for the rest"
    )


def test_a_failed_shard_keeps_its_error_until_it_is_tried_again(tmp_path: Path, node: Node) -> None:
    store, folder = Store(tmp_path), tmp_path / node.ref
    first, second = folder / "shards" / "1-of-2", folder / "shards" / "2-of-2"
    put(first, lease=LEASE, work__progress=progress(10, 50))
    put(second, error={"message": "no key", "exit_code": 4}, work__progress=progress(20, 50))
    state = read_state(store, node)
    assert (state.name, state.error, [shard.name for shard in state.shards]) == ("making", "", ["making", "failed"])
    (first / "lease.json").unlink()
    state = read_state(store, node)
    assert (state.name, state.error, state.exit_code, state.done) == ("failed", "no key", 4, 30)
    put(second, lease=LEASE)
    assert [shard.name for shard in read_state(store, node).shards] == ["partial", "making"]
    (second / "error.json").unlink()  # as the next try does
    (second / "lease.json").unlink()
    assert read_state(store, node).name == "partial"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"done": "many", "total": null}',
        '{"done": NaN, "total": 1e999}',
        '{"done": -1, "total": 9}',
    ],
)
def test_a_progress_file_may_hold_anything(tmp_path: Path, node: Node, text: str) -> None:
    put(tmp_path / node.ref, work__progress=text)
    put(tmp_path / node.ref / "shards" / "1-of-2", done=text, work__progress=text)
    state = read_state(Store(tmp_path), node)
    assert state == State(name="partial", shards=(State(name="done", unit="answers"), State(name="to do")))


def test_a_node_that_only_the_upstream_has_is_finished_there(tmp_path: Path, node: Node) -> None:
    store, folder = Store(tmp_path / "mine", tmp_path / "lab"), tmp_path / "mine" / node.ref
    put(folder, work__progress=progress(30, 100))
    assert read_state(store, node).name == "partial"
    put(tmp_path / "lab" / node.ref, artifact={})
    state = read_state(store, node)
    assert state == State(name="upstream") and state.is_finished
    put(folder, artifact={})
    assert read_state(store, node) == State(name="done")
