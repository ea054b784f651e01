"""Tests of orcac/cost/figures.py."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac import text
from orcac.cost import figures
from orcac.cost.figures import Range, between, within_factor


def test_one_unknown_adds_up_and_two_combine_in_quadrature() -> None:
    one, same, other = within_factor(10, 1.2, "a"), within_factor(5, 1.2, "a"), within_factor(10, 1.2, "b")
    assert (one * same).high == pytest.approx(50 * 1.44)
    assert (one * other).high == pytest.approx(100 * math.exp(math.hypot(math.log(1.2), math.log(1.2))))
    assert (one / same).high == pytest.approx(2)  # wrong together, so their ratio is right
    assert (Range(1.0) / one).low == pytest.approx(1 / 12)
    assert figures.sum_ranges([one] * 1000).high == pytest.approx(12_000)  # not 10,000 ± independent errors
    assert figures.sum_ranges([one, other]).high < 24
    assert (one + Range(10.0)).high == pytest.approx(22)
    assert (Range(3.0) * 2).is_exact


@given(st.floats(0.1, 1e9), st.floats(1, 9), st.floats(1, 9))
def test_a_range_contains_its_middle(mid: float, down: float, up: float) -> None:
    figure = between(mid / down, mid, mid * up, "a")
    capped = figure.capped_at(mid * 1.5), figure.capped_at(mid / 1.5)
    assert capped[0].high <= mid * 1.5 * (1 + 1e-9)
    assert capped[1].high <= mid / 1.5 * (1 + 1e-9)
    added, rooted = figure + within_factor(mid, 2, "b"), figure.propagate(math.sqrt)
    for made in (figure, figure * figure, Range(1.0) / figure, added, rooted, *capped):
        assert made.low <= made.mid * (1 + 1e-9)
        assert made.mid <= made.high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("figure", "show", "shown"),
    [
        (within_factor(5148, 1.25, "a"), partial(text.dollars, digits=2), "5,100 USD (4,100 to 6,400)"),
        (within_factor(0.0543, 1.5, "a"), partial(text.dollars, digits=2), "0.054 USD (0.036 to 0.081)"),
        (within_factor(3000, 3, "a"), text.duration, "50 min (17 min to 2.5 h)"),
        (within_factor(5000, 1.001, "a"), partial(text.dollars, digits=2), "5,000 USD"),
        (Range(6.71 * 86400), text.duration, "6.7 days"),
    ],
)  # fmt: skip
def test_a_figure_is_shown_with_its_ends_unless_they_read_the_same(figure: Range, show: Any, shown: str) -> None:
    assert figures.format_range(figure, show) == shown
