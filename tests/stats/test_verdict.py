from __future__ import annotations

import dataclasses

import pytest
from comparisons import comparison
from hypothesis import given
from hypothesis import strategies as st

from orcac.stats.verdict import explore, holm, judge


def test_holm_known_value() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in ranked] == sorted(adjusted)


def words(*comparisons, margin: float | None = None) -> list[str | None]:
    return [verdict.word for verdict in judge(comparisons, [margin] * len(comparisons))]


def test_a_family_decides_together() -> None:
    clear, close = comparison(0.08), comparison(-0.031)  # p is 4e-5 and 0.021
    assert words(clear, close) == ["better", "worse"]
    assert words(clear, close, close, close) == ["better", *3 * ["no difference shown"]]
    assert [verdict.p_holm for verdict in judge([close, close])] == [2 * close.p, 2 * close.p]
    assert (explore(clear).word, explore(clear).p_holm) == (None, None)


def test_without_replicates_no_verdict_is_on_an_arm() -> None:
    assert words(comparison(0.08, df=0), comparison(-0.08, df=0)) == ["scores higher", "scores lower"]
    assert words(comparison(0.001, df=0), margin=0.5) == ["no difference shown"]


@pytest.mark.parametrize(
    ("margin", "word"), [(None, "no difference shown"), (0.02, "no difference shown"), (0.03, "equal")]
)
def test_equal_needs_the_whole_90_percent_interval_within_the_margin(margin: float | None, word: str) -> None:
    assert words(comparison(0.003), margin=margin) == [word]  # 90 % interval: -1.7 to +2.3 points


def test_a_significant_difference_is_not_equal() -> None:
    small = dataclasses.replace(comparison(0.003), p=0.001)
    assert words(small, margin=0.03) == ["better"]
