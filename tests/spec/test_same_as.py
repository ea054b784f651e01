"""Tests of orcac/spec/same_as.py."""

from __future__ import annotations

from typing import Any

import pytest

from orcac.spec.same_as import Twin, find_mistake, find_twins
from orcac.spec.schema import Spec


def specs(**arms: Any) -> dict[str, Spec]:
    """Return the specs of arms, given the lengths of their stages."""
    return {
        name: Spec.model_validate(
            {
                "orcac": 1,
                "name": "x",
                "stages": {
                    stage: {"dataset": "d", "tokens": length} if length else {"dataset": "d"}
                    for stage, length in stages.items()
                },
                "curriculum": list(stages),
            }
        )
        for name, stages in arms.items()
    }


BASE = {"first": None, "second": 900}
SWEPT = {"base": BASE, "base.epochs-2": BASE, "short.epochs-2": {"second": {"same_as": "base"}}}


@pytest.mark.parametrize(
    ("arms", "arm", "twins"),
    [
        ({"base": BASE, "a": {"second": {"same_as": "base"}}}, "a", [("base", "second")]),
        (
            {
                "base": BASE,
                "a": {"second": {"same_as": "base", "stages": ["first", "second"]}},
                "b": {"second": {"same_as": "a"}},
            },
            "b",
            [("base", "first"), ("base", "second")],
        ),
        (SWEPT, "short.epochs-2", [("base.epochs-2", "second")]),
    ],
)
def test_the_stages_are_found_through_arms_and_at_the_same_point_of_a_sweep(
    arms: dict[str, Any], arm: str, twins: list[tuple[str, str]]
) -> None:
    assert not find_mistake(specs(**arms), arm, "second")
    assert find_twins(specs(**arms), arm, "second") == [Twin(*twin) for twin in twins]


@pytest.mark.parametrize(
    ("length", "mistake"),
    [
        ({"same_as": "none"}, "there is no arm `none` to be as long as; arms: base, a; add it to `ablations`"),
        ({"same_as": "base", "stages": ["third"]}, "the arm `base` trains no stage `third`; name its stages, as in "),
        ({"same_as": "a"}, "stages are as long as one another: a: second -> a: second; give one of them `epochs`"),
    ],
)
def test_a_length_that_there_is_not_is_refused(length: dict[str, Any], mistake: str) -> None:
    assert find_mistake(specs(base=BASE, a={"second": length}), "a", "second").startswith(mistake)
