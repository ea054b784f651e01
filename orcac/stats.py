"""The statistics of a score: how sure it is, and whether two models differ on the same items.

Every test here is exact or a bootstrap, and every comparison is paired: two students answer the same items,
so what tells them apart is the items on which exactly one is right; an unpaired test on the same data wastes
most of its power. All of them speak of the drawing of items; none speaks of the luck of a training seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Interval", "beats_chance", "holm", "mcnemar", "paired_difference", "wilson"]


class Interval(NamedTuple):
    low: float
    high: float


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share. No items, no knowledge: (0, 1)."""
    if n == 0:
        return Interval(0.0, 1.0)
    ends = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return Interval(float(ends.low), float(ends.high))


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that two models are equally good, given the items that only one of them got right."""
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def beats_chance(correct: int, n: int, chance: float) -> float:
    """Exact one-sided p of so many right answers or more by guessing at rate `chance`.

    Where items differ in their number of options, `chance` is the mean of their rates; the true spread is
    then a little smaller than the binomial's, so the test errs on the side of "at chance".
    """
    if n == 0:
        return 1.0
    return float(stats.binomtest(correct, n, chance, alternative="greater").pvalue)


def paired_difference(
    a: NDArray[np.bool_], b: NDArray[np.bool_], seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of mean(a) - mean(b), resampling items.

    a, b: bool (items,), the same items in the same order. An item adds -1, 0 or +1, so a resample is one draw
    from a multinomial of those three: the distribution of drawing items, at a cost that ignores their number.
    """
    assert a.shape == b.shape and a.ndim == 1
    n = len(a)
    if n == 0:
        return Interval(-1.0, 1.0)
    better, worse = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    draws = np.random.default_rng(seed).multinomial(n, [better / n, worse / n, (n - better - worse) / n], resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return Interval(float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of tests, in the order given."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
