"""Datasets made from a spec, for the tests of everything that a spec can say about answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orcac import rows
from orcac.chat.ledger.files import read_records
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.rows import Rejected, Response
from orcac.spec.load import load
from orcac.store.store import Store

PUZZLES = {"format": "puzzles", "task": "boolean_expressions", "size": [4, 8], "take": 12}
SOLVER: dict[str, Any] = {
    "model": "assistant",
    "endpoint": {"kind": "solver"},
    "sampling": {"seed": 0, "extra": {"error_rate": 0.5}},
}
QUESTION_FIELDS = {"query": "q", "reference": "a"}
TAPE_FIELDS = {"question": "q", "answer": "out"}


@dataclass(frozen=True)
class Made:
    """The nodes of one arm of a spec that only collects."""

    plan: Plan
    store: Store
    addresses: Mapping[str, str]

    def responses(self, dataset: str = "d") -> list[Response]:
        return list(rows.read(self.path(f"collect/{dataset}", "responses.parquet"), Response))

    def kept(self, dataset: str = "d") -> list[Response]:
        return list(rows.read(self.path(f"filter/{dataset}", "kept.parquet"), Response))

    def rejected(self, dataset: str = "d") -> list[Rejected]:
        return list(rows.read(self.path(f"filter/{dataset}", "rejected.parquet"), Rejected))

    def summary(self, address: str) -> dict[str, Any]:
        summary: dict[str, Any] = self.store.artifact(self.addresses[address])["summary"]
        return summary

    def recipe(self, address: str) -> dict[str, Any]:
        recipe: dict[str, Any] = self.store.artifact(self.addresses[address])["recipe"]
        return recipe

    def path(self, address: str, name: str) -> Path:
        return self.store.folder(self.addresses[address]) / name


def plan_spec(folder: Path, spec: Mapping[str, Any]) -> Plan:
    """Write a spec into a folder and return its plan. A section that is left out is that of a small solved dataset."""
    whole = {
        "orcac": 1,
        "name": "d",
        "queries": {"q": PUZZLES},
        "teachers": {"t": SOLVER},
        "datasets": {"d": {"teacher": "t", "queries": ["q"]}},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(whole | dict(spec)))
    plan = Plan()
    lower(plan, load(path))
    return plan


def collect(folder: Path, spec: Mapping[str, Any], arm: str = "base") -> Made:
    """Make the datasets of one arm of a spec, with a store in the folder."""
    plan, store = plan_spec(folder, spec), Store(folder / "store")
    (experiment,) = plan.experiments.values()
    for ref in plan.nodes:
        if ref in experiment.arms[arm]:
            make(plan, store, ref)
    return Made(plan, store, experiment.addresses[arm])


def taped(folder: Path, questions: Mapping[str, str], answers: Mapping[str, list[str]], **more: Any) -> dict[str, Any]:
    """Write questions with their references, and recorded answers, and return the sections of a spec that read them."""
    asked = [{"q": question, "a": reference} for question, reference in questions.items()]
    given = [{"q": question, "out": text} for question, texts in answers.items() for text in texts]
    for name, lines in (("questions", asked), ("tape", given)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = max(map(len, answers.values()))
    endpoint = {"kind": "replay", "path": "tape.jsonl", "fields": TAPE_FIELDS, "samples": samples}
    return {
        "queries": {"q": {"format": "jsonl", "path": "questions.jsonl", "fields": QUESTION_FIELDS}},
        "teachers": {"t": {"model": "taped", "endpoint": endpoint}},
        "datasets": {"d": {"teacher": "t", "queries": ["q"], "samples": samples, **more}},
    }


def count_records(made: Made) -> int:
    """Return the answers in the ledger."""
    return len([*read_records(made.store.answers)])
