"""A study that only collects answers, of teachers that need no key, and the commands on it, for tests of stores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from click.testing import CliRunner, Result

from orcac.cli import cli
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = """\
orcac: 1
name: survey
queries: {counting: {format: puzzles, task: object_counting, size: [2, 4], take: 12}}
teachers: {solver: {model: expert, endpoint: {kind: solver}}}
datasets: {all: {teacher: solver, queries: [counting]}}
"""
MORE = SPEC.replace("]}}\n", "]}, few: {teacher: solver, sample: {from: all, take: 5}}}\n")


def lay_out(folder: Path, spec: str = SPEC) -> tuple[Plan, Store]:
    """Write `mine.yaml` into a folder. Returns its plan and the empty store beside it."""
    (folder / "mine.yaml").write_text(spec)
    plan = Plan()
    lower(plan, load(folder / "mine.yaml"))
    return plan, Store(folder / "store")


def make_nodes(plan: Plan, store: Store, refs: Iterable[str]) -> None:
    for ref in refs:
        make(plan, store, ref)


def make_all(folder: Path, spec: str = SPEC) -> tuple[Plan, Store]:
    """Lay out a study and make all of its nodes."""
    plan, store = lay_out(folder, spec)
    make_nodes(plan, store, plan.nodes)
    return plan, store


def orcac(*line: str) -> Result:
    """Run a command in this process. Raises its exception."""
    result = CliRunner().invoke(cli, list(line), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result
