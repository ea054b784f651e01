"""Tests of orcac/spec/diff.py."""

from __future__ import annotations

from pathlib import Path

from orcac.spec.diff import ABSENT, Change, compare_specs
from orcac.spec.load import load

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"


def test_a_change_has_the_path_both_values_and_the_class() -> None:
    base = load(SMOKE).base.spec
    work = base.hardware.eval.model_copy(update={"threads": 3})
    other = base.model_copy(
        update={"seed": 2, "about": "x", "hardware": base.hardware.model_copy(update={"eval": work})}
    )
    assert compare_specs(base, base) == []
    assert compare_specs(base, other) == [
        Change("about", base.about, "x", "label"),
        Change("seed", 1, 2, "semantic"),
        Change("hardware.eval.threads", 1, 3, "execution"),
    ]


def test_only_the_written_fields_of_a_part_that_one_side_lacks_are_changes() -> None:
    spec = load(SMOKE).base.spec
    name, dataset = next(iter(spec.datasets.items()))
    other = spec.model_copy(update={"datasets": spec.datasets | {"copy": dataset}})
    changes = compare_specs(spec, other)
    assert {change.path for change in changes} == {f"datasets.copy.{field}" for field in dataset.model_fields_set}, name
    assert all(change.old == ABSENT for change in changes)
    assert [change.path for change in compare_specs(other, spec)] == [change.path for change in changes]
