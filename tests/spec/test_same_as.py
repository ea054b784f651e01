"""Tests of orcac/spec/same_as.py."""

from __future__ import annotations

from typing import Any

import pytest

from orcac.spec.same_as import FIGURES, Figure, Twin, find_mistake, find_price, find_twins
from orcac.spec.schema import Spec
from orcac.tokenize.recipe import AnswerPrice


def specs(**arms: Any) -> dict[str, Spec]:
    """Return the specs of arms, given the lengths of their stages: tokens, or a map of fields."""
    return {
        name: Spec.model_validate(
            {
                "orcac": 1,
                "name": "x",
                "stages": {
                    stage: {"dataset": "d"} | (length if isinstance(length, dict) else {"tokens": length})
                    for stage, length in stages.items()
                },
                "teachers": {
                    "free": {"model": "expert", "endpoint": {"kind": "solver"}},
                    "paid": PAID | {"endpoint": {"kind": "solver"}},
                    "recorded": PAID | {"endpoint": REPLAY},
                },
                "queries": {"q": {"format": "puzzles", "task": "navigate", "size": [2, 5], "take": 9}},
                "datasets": {
                    name: {"teacher": teacher, "queries": ["q"]}
                    for name, teacher in (("d", "paid"), ("free", "free"), ("recorded", "recorded"))
                },
                "curriculum": list(stages),
            }
        )
        for name, stages in arms.items()
    }


PAID = {"model": "expert", "price": {"input": 2, "output": 4}}
REPLAY = {"kind": "replay", "path": ["x.jsonl"], "fields": {"question": "q", "answer": "a"}}
BASE = {"first": {}, "second": 900}
SAME = {"tokens": {"same_as": "base"}}
SWEPT = {"base": BASE, "base.epochs-2": BASE, "short.epochs-2": {"second": SAME}}
FREE, RECORDED = {"dataset": "free"}, {"dataset": "recorded"}


@pytest.mark.parametrize(
    ("arms", "arm", "twins"),
    [
        ({"base": BASE, "a": {"second": SAME}}, "a", [("base", "second")]),
        (
            {
                "base": BASE,
                "a": {"second": {"tokens": {"same_as": "base", "stages": ["first", "second"]}}},
                "b": {"second": {"tokens": {"same_as": "a"}}},
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
    assert not find_mistake(specs(**arms), arm, "second", "tokens")
    assert find_twins(specs(**arms), arm, "second", "tokens") == [Twin(*twin) for twin in twins]


@pytest.mark.parametrize(
    ("same", "mistake"),
    [
        ({"same_as": "none"}, "there is no arm `none` to take the tokens of; arms: base, a; add it to `ablations`"),
        ({"same_as": "base", "stages": ["third"]}, "the arm `base` trains no stage `third`; name its stages, as in "),
        ({"same_as": "a"}, "stages take the tokens of one another: a: second -> a: second; give one of them `epochs`"),
    ],
)
@pytest.mark.parametrize("figure", FIGURES)
def test_an_arm_that_there_is_not_is_refused(same: dict[str, Any], mistake: str, figure: Figure) -> None:
    arms = specs(base={"first": {}, "second": {}}, a={"second": {figure: same}})
    mistake = mistake.replace("tokens", figure)
    if figure in ("examples", "dollars"):
        mistake = mistake.replace("`epochs`", "`take`")
    assert find_mistake(arms, "a", "second", figure).startswith(mistake)


@pytest.mark.parametrize(
    ("figure", "base", "mistake"),
    [
        (
            "tokens",
            {"steps": 9},
            "has a number of steps, and its tokens depend on the order of its rows; write `steps: {",
        ),
        (
            "steps",
            {"tokens": 9},
            "has a number of tokens, and its steps depend on the order of its rows; write `tokens: {",
        ),
        ("dollars", FREE, "stage `s` of the arm `base` has no dollars: its answers are free; give a teacher"),
        ("dollars", RECORDED, "stage `s` of the arm `base` has no dollars: its answers are free; give a teacher"),
    ],
)
def test_a_stage_without_the_figure_is_refused(figure: Figure, base: dict[str, Any], mistake: str) -> None:
    assert mistake in find_mistake(specs(base={"s": base}, a={"s": {figure: {"same_as": "base"}}}), "a", "s", figure)


def test_a_stage_of_free_answers_has_no_size_in_dollars() -> None:
    arms = specs(base={"s": {}}, a={"s": FREE | {"dollars": {"same_as": "base"}}})
    assert "none of the answers of stage `s` has a price" in find_mistake(arms, "a", "s", "dollars")


def test_a_circle_of_sizes_is_found_across_examples_and_dollars() -> None:
    arms = specs(base={"s": {"examples": {"same_as": "a"}}}, a={"s": {"dollars": {"same_as": "base"}}})
    assert "one another: a: s -> base: s -> a: s; give one of them `take`" in find_mistake(arms, "a", "s", "dollars")
    lengths = specs(base={"s": {"tokens": {"same_as": "a"}}}, a={"s": {"examples": {"same_as": "base"}}})
    assert not any(find_mistake(lengths, *one) for one in (("base", "s", "tokens"), ("a", "s", "examples")))


@pytest.mark.parametrize(("mode", "share"), [("online", 1), ("batch", 0.25), ("auto", 0.25)])
def test_answers_in_batches_have_the_price_of_batches(mode: str, share: float) -> None:
    (spec,) = specs(base={"s": {}}).values()
    endpoint = {"kind": "openai", "base_url": "http://x/v1", "mode": mode}
    teacher = PAID | {"price": {"input": 2, "output": 4, "batch": 0.25}, "endpoint": endpoint}
    spec = Spec.model_validate(spec.model_dump(by_alias=True, exclude_unset=True) | {"teachers": {"paid": teacher}})
    assert find_price(spec, "d") == AnswerPrice(input=2 * share, output=4 * share)
