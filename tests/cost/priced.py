"""A small plan, and stores to price it against."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from orcac.cost.bill import Cost, price, total_cost
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

ROOT = Path(__file__).parents[2]
NOWHERE = Store(Path("nowhere"))

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "small",
    "seed": 3,
    "queries": {"q": {"format": "puzzles", "task": "boolean_expressions", "size": [3, 5], "take": 80}},
    "system_messages": {"messages": {"7": "Explain each step."}, "draw": {"q": [7]}},
    "teachers": {
        "a": {"model": "assistant", "endpoint": {"kind": "solver"}, "price": {"input": 1000, "output": 2000}},
        "b": {"model": "expert", "endpoint": {"kind": "solver"}},
    },
    "datasets": {
        "pool": {"teacher": "a", "queries": ["q"]},
        "few": {"teacher": "a", "sample": {"from": "pool", "take": 30}},
        "fewer": {"teacher": "b", "sample": {"from": "pool", "take": 10}},
    },
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["pool"]}},
    "stages": {name: {"dataset": name, "epochs": 1} for name in ("pool", "few", "fewer")},
    "curriculum": ["pool", "few", "fewer"],
}
MORE = SPEC["datasets"] | {"few": {"teacher": "a", "queries": ["r"]}}
PACKED = {"examples": 200, "packed": 200, "too_long": 0, "rows": 50, "tokens": 50 * 1024}
PACKED |= {"supervised_tokens": 20_000, "fill": 0.5}
TRAINED = {"steps": 25, "tokens": 50 * 1024, "supervised_tokens": 20_000, "first_loss": 3.0, "final_loss": 2.0}


def planned(spec: Path) -> Plan:
    plan = Plan()
    lower(plan, load(spec))
    return plan


def at(plan: Plan, address: str, arm: str = "base") -> str:
    (experiment,) = plan.experiments.values()
    return experiment.addresses[arm][address]


def small(folder: Path, name: str = "small", **changes: Any) -> Plan:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(SPEC | {"name": name} | changes))
    return planned(path)


def whole(**changes: Any) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        plan = small(Path(folder), curriculum=["pool"], **changes)
    return total_cost(plan, price(plan, NOWHERE), list(plan.nodes))


def add_record(plan: Plan, store: Store, ref: str, summary: dict, hardware: dict) -> None:
    """Mark a node as made in 106 s, with this summary."""
    node = plan.nodes[ref]
    record = {
        "recipe": node.recipe.model_dump(mode="json"),
        "inputs": {role: list(refs) for role, refs in node.inputs.items()},
        "summary": summary,
        "made": {"seconds": 106.0},
        "hardware": hardware,
        "files": {},
    }
    store.folder(ref).mkdir(parents=True)
    store.marker(ref).write_text(json.dumps(record))
