"""Tests of orcac/stats/pairs.py: the difference between runs and those that they repeat."""

from __future__ import annotations

import numpy as np
import pytest

from orcac.stats.compare import Layout, Scores, compare
from orcac.stats.pairs import compare_pairs
from orcac.stats.verdict import holm

ITEMS, RUNS, ARMS = 300, 6, 8
ALIKE = np.zeros(ITEMS, int)


def draw(rng: np.random.Generator, luck: float, shift: float = 0.0) -> tuple[Scores, Scores]:
    """Return the answers of an arm's runs and of their repetitions, each float (runs, items).

    The runs of a pair share their data, which is worth up to 15 points; rounding moves each by `luck`, a share.
    """
    ease, data = rng.uniform(0, 1, ITEMS), rng.normal(0, 0.15, (RUNS, 1))
    before, now = (rng.normal(0, luck, (RUNS, 1)) + data for _ in range(2))
    return tuple(  # type: ignore[return-value]
        (rng.random((RUNS, ITEMS)) < np.clip(ease + moved, 0, 1)).astype(float) for moved in (before, now + shift)
    )


def test_runs_that_repeat_each_other_bit_by_bit_differ_by_nothing() -> None:
    same = np.zeros((RUNS, ITEMS))
    found = compare_pairs({"base": same, "arm": same}, labels=ALIKE)["arm"]
    assert (found.difference, found.p, found.won, found.lost) == (0, 1, 0, 0)
    assert found.interval.high == pytest.approx(1.96 * np.sqrt(2 / RUNS / ITEMS / (ITEMS - 1)), rel=1e-3)


@pytest.mark.parametrize("luck", [0.0, 0.03])
def test_a_true_repetition_is_seldom_refused_and_a_shifted_arm_is_found(luck: float) -> None:
    """At 5 %, at most 1 in 20 intervals excludes a true 0, and at most 1 in 20 studies has a significant arm."""
    rng, outside, refused, caught = np.random.default_rng(4), 0, 0, 0
    for study in range(60):
        pairs = {f"{number}": draw(rng, luck, 0.15 * (number == 0) * (study % 2)) for number in range(ARMS)}
        found = compare_pairs({name: now - before for name, (before, now) in pairs.items()}, labels=ALIKE)
        adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
        if study % 2:
            caught += adjusted["0"] < 0.05
        else:
            outside += sum(not one.interval.low <= 0 <= one.interval.high for one in found.values())
            refused += min(adjusted.values()) < 0.05
    assert outside <= 0.1 * 30 * ARMS and refused <= 4 and caught >= 27


def test_what_the_data_are_worth_cancels_in_a_pair() -> None:
    """Compared as independent runs, the two would need a difference of several times the size."""
    before, now = draw(np.random.default_rng(1), 0.0)
    paired = compare_pairs({"arm": now - before}, labels=ALIKE)["arm"]
    apart = compare(now, before, layout=Layout(ALIKE, "micro"))
    assert paired.difference == pytest.approx(apart.difference)
    assert paired.interval.high - paired.interval.low < 0.5 * (apart.interval.high - apart.interval.low)


def test_one_run_is_compared_over_items_and_a_failed_answer_leaves_its_item() -> None:
    table = np.zeros((1, ITEMS))
    table[0, :12], table[0, 12:14], table[0, 20] = 1, -1, np.nan
    found = compare_pairs({"arm": table, "failed": np.full((1, ITEMS), np.nan)}, labels=ALIKE)
    assert [*found] == ["arm"]
    assert (found["arm"].items, found["arm"].test, found["arm"].won, found["arm"].lost) == (ITEMS - 1, "mcnemar", 12, 2)
    assert found["arm"].p == pytest.approx(2 * (1 + 14 + 91) / 2**14) and not found["arm"].is_replicated


def test_tasks_weigh_alike_if_the_benchmark_says_so() -> None:
    table, labels = np.zeros((2, 40)), np.repeat([0, 1], [30, 10])
    table[:, 30:35] = 1
    for average in ("macro", "clustered"):  # the same two tasks again, so no claim about others
        found = compare_pairs({"arm": table}, labels=labels, average=average)["arm"]  # type: ignore[arg-type]
        assert (found.difference, found.average) == (0.25, "macro")


def test_a_small_shift_of_measured_scores_is_found() -> None:
    rng = np.random.default_rng(4)
    shifted = 0.01 + rng.normal(0, 0.0005, (3, 24))  # a point on every item, as losses move together
    labels = np.zeros(24, int)
    one = compare_pairs({"arm": shifted}, labels=labels, measured=True)["arm"]
    assert one.p < 0.01 and one.interval.low > 0
    assert compare_pairs({"arm": shifted}, labels=labels)["arm"].p > 0.05  # counted scores are rougher
