"""Tests of orcac/plan/earlier.py: evaluations that VERSION 1 finished are found by today's plans.

golden/version1_evals.txt has the KIND/IDs of the shipped specs' evaluations as VERSION 1 planned them, in lines like
those of ids.txt. Judged benchmarks and baselines are not among them: VERSION 1 made no artifact of the former, and
generated nothing for the latter. The kinds before `eval` have the VERSIONs of that time here: a later one moves the ids
of all evaluations, and `plan.upgrade` finds the older artifacts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac import kinds
from orcac.kinds import KINDS
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load

SPECS = Path(__file__).parents[2] / "specs"
LINES = [
    line.split("\t") for line in (Path(__file__).parent / "golden" / "version1_evals.txt").read_text().splitlines()
]
WITH_DATA = " with data"
VERSIONS = {"student": 2, "tokenize": 1, "train": 2}


@pytest.fixture(autouse=True)
def of_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in VERSIONS.items():
        kind = KINDS[name]
        monkeypatch.setitem(KINDS, name, kinds.Kind(name, version, kind.recipe, kind.execution))


def check(name: str) -> None:
    plan = Plan()
    lower(plan, load(SPECS / f"{name.removesuffix(WITH_DATA)}.yaml"))
    earlier = [getattr(node.execution, "earlier", ()) for node in plan.nodes.values()]
    for ref in (ref for spec, ref in LINES if spec == name):
        assert [ref in refs for refs in earlier].count(True) == 1, ref


@pytest.mark.parametrize("name", sorted({name for name, _ in LINES if not name.endswith(WITH_DATA)}))
def test_the_evaluations_of_version_1_are_those_of_one_node_each(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ORCAC_DATA", "EVAL"):
        monkeypatch.delenv(variable, raising=False)
    check(name)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted({name for name, _ in LINES if name.endswith(WITH_DATA)}))
def test_the_evaluations_of_version_1_with_data_are_those_of_one_node_each(data: Path, name: str) -> None:
    check(name)
