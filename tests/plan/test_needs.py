"""Tests of orcac/plan/needs.py: a run that lacks an optional package stops before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.extras import EXTRAS
from orcac.plan.lower import lower
from orcac.plan.needs import describe_missing, list_extras, refuse_missing
from orcac.plan.plan import Plan
from orcac.spec.load import load

SPECS = Path(__file__).parents[2] / "specs"


@pytest.fixture
def plan() -> Plan:
    made = Plan()
    lower(made, load(SPECS / "smoke.yaml"))
    return made


def test_only_nodes_that_hold_a_model_or_measure_need_an_extra(plan: Plan) -> None:
    needed = {node.kind: list_extras(node) for node in plan.nodes.values()}
    assert {kind for kind, extras in needed.items() if not extras} == {"sample", "collect", "filter"}
    assert {kind for kind, extras in needed.items() if extras == {"measure"}} == {"score", "report"}
    assert {kind for kind, extras in needed.items() if extras == {"train"}} == {"student", "tokenize", "train", "eval"}


def test_missing_extras_are_named_with_their_kinds(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not describe_missing(plan.nodes.values())[0]
    monkeypatch.setitem(EXTRAS, "measure", ("no_such_package",))
    with pytest.raises(InputError, match=r"score, report need orcac\[measure\]") as caught:
        refuse_missing(plan.nodes.values())
    assert caught.value.fix == "pip install 'orcac[measure]'"
    refuse_missing(node for node in plan.nodes.values() if node.kind == "train")
