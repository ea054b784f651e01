"""Tests of orcac/cli/until.py: the kinds of `--until` are checked, and decide which nodes a run makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.cli.until import list_wanted, read_until
from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"


def test_kinds_are_read_as_snakemake_reads_them() -> None:
    assert read_until(["--cores", "2"]) == []
    assert read_until(["--until", "collect", "filter", "--cores", "2"]) == ["collect", "filter"]
    assert read_until(["-U", "sample"]) == read_until(["--until=sample"]) == ["sample"]


@pytest.mark.parametrize(
    "arguments, fix", [(["--until", "colect"], "`--until collect`"), (["--until"], "give one of sample")]
)
def test_an_unknown_kind_is_refused(arguments: list[str], fix: str) -> None:
    with pytest.raises(InputError) as caught:
        read_until(arguments)
    assert fix in caught.value.fix


def test_a_run_until_a_kind_makes_its_nodes_and_their_inputs() -> None:
    plan = Plan()
    lower(plan, load(SMOKE))
    kinds = {plan.nodes[ref].kind for ref in list_wanted(plan, ["tokenize"])}
    assert kinds == {"sample", "collect", "filter", "student", "tokenize"}
    assert list_wanted(plan, []) == list(plan.nodes)
