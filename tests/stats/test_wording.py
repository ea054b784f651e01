from __future__ import annotations

from typing import Any

import pytest
from comparisons import comparison

from orcac.stats.intervals import Interval
from orcac.stats.verdict import Verdict, explore, judge
from orcac.stats.wording import cautions, coverage, points, points_interval, scope, sentence


def verdict(difference: float, family: int = 1, margin: float | None = None, **changes: Any) -> Verdict:
    return judge([comparison(difference, **changes)] * family, [margin] * family)[0]


BOTH = "over items and training luck (3 + 3 runs, 8 df; luck 0.9 points)"
FIXED = "on these tasks, for these data; another draw of questions or answers is not covered"
NO_VERDICT = "training luck is not covered: no verdict on the arm"


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (verdict(0.08), f"better: +8.0 points (95 % +5.5 to +10.5), {BOTH}"),
        (verdict(-0.031), f"worse: −3.1 points (95 % −5.6 to −0.6), {BOTH}"),
        (verdict(0.01), f"no difference shown; differences beyond −1.5 to +3.5 points are excluded (95 %), {BOTH}"),
        (
            verdict(0.031, family=3),
            "no difference shown: p 0.021, adjusted for the number of comparisons 0.062; +3.1 points "
            f"(95 % +0.6 to +5.6, not adjusted), {BOTH}",
        ),
        (verdict(0.003, margin=0.03), f"equal within 3 points: +0.3 points (90 % −1.7 to +2.3), {BOTH}"),
        (
            verdict(0.031, df=0),
            "this model scores higher on these items: +3.1 points (95 % +1.2 to +5.0); one training run each, so "
            + NO_VERDICT,
        ),
        (
            verdict(-0.031, df=0, repeated=(2, 2)),
            "this model scores lower on these items: −3.1 points (95 % −5.0 to −1.2); runs with identical results "
            f"count once, so {NO_VERDICT}",
        ),
        (
            verdict(0.031, df=0, untrained=(True, True)),
            "this model scores higher on these items: +3.1 points (95 % +1.2 to +5.0); neither is trained here, so "
            "this is about these two models as they are",
        ),
        (
            verdict(0.031, df=0, untrained=(False, True)),
            "this model scores higher on these items: +3.1 points (95 % +1.2 to +5.0); one training run against a "
            f"model as it is, so {NO_VERDICT}",
        ),
        (
            verdict(0.01, df=0),
            "no difference shown; differences beyond −0.9 to +2.9 points are excluded (95 %); one training run each, "
            f"so {NO_VERDICT}",
        ),
        (
            explore(comparison(0.08)),
            f"exploratory, no verdict: +8.0 points (95 % +5.5 to +10.5), p < 0.001, not adjusted, {BOTH}",
        ),
    ],
)
def test_sentence(case: Verdict, text: str) -> None:
    assert sentence(case) == text


@pytest.mark.parametrize(
    ("changes", "covered", "about"),
    [
        ({}, BOTH, FIXED),
        (
            {"runs": (1, 3), "df": 2},
            "over items and training luck (1 + 3 runs, 2 df; luck 0.9 points; luck taken from other arms)",
            FIXED,
        ),
        (
            {"runs": (3, 1), "df": 2, "untrained": (False, True)},
            "over items and training luck (3 + 1 runs, 2 df; luck 0.9 points; luck taken from other arms; the base is "
            "not trained and counts as one run)",
            FIXED,
        ),
        ({"df": 0, "untrained": (True, True)}, "over items", "on these tasks"),
        (
            {"tasks": 27, "average": "clustered"},
            "over tasks and training luck (27 tasks; 3 + 3 runs, 8 df; luck 0.9 points)",
            "on tasks like these, for these data; another draw of questions or answers is not covered",
        ),
        (
            {"redrawn": True},
            "over items, training luck and the draw of the data (3 + 3 draws, 8 df; luck 0.9 points)",
            "on these tasks, for data drawn like these",
        ),
        (
            {"df": 0},
            "over items",
            FIXED,
        ),
    ],
)
def test_coverage_and_scope(changes: dict[str, Any], covered: str, about: str) -> None:
    found = comparison(0.01, **changes)
    assert (coverage(found), scope(found)) == (covered, about)


def test_cautions_name_what_makes_an_interval_doubtful() -> None:
    assert cautions(comparison(0.01, unequal=0.3)) == []
    assert cautions(comparison(0.01, unequal=0.004, repeated=(1, 0))) == [
        "1 run of the arm had the same result on every item as an earlier one and counts once with it: the seed had no "
        "effect.",
        "The arms differ in how much their runs vary (F test, p 0.004), so this interval may be too narrow.",
    ]


def test_no_interval_is_printed_without_a_width() -> None:
    assert points_interval(Interval(-0.0123, 0.0405)) == "−1.2 to +4.0"
    assert points_interval(Interval(-0.0002, 0.0002)) == "−0.02 to +0.02"
    assert (points(-0.0001), points(0.0), points(-0.032)) == ("0.0", "0.0", "−3.2")
