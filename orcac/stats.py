"""The statistics of a score: its confidence interval, and tests of whether two models differ on the same items.

Every test is exact or a bootstrap, and every comparison is paired. Two students answer the same items, so only the
items on which exactly one of them is right distinguish them; an unpaired test on the same data wastes most of its
power. All tests cover the random choice of items. None covers the luck of a training seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Interval", "binomial_p_value", "holm", "mcnemar", "paired_difference", "wilson"]


class Interval(NamedTuple):
    low: float
    high: float


def wilson(total: float, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of the mean of n scores with the sum `total`; (0, 1) if n is 0.

    It is exact Wilson if all scores are 0 or 1. Scores between them vary less than that, so it is then too wide.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    z, share = float(stats.norm.ppf((1 + confidence) / 2)), total / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the p-value of McNemar's exact two-sided test that two models are equally accurate.

    `only_a` and `only_b` count the items that only that model got right.
    """
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def binomial_p_value(correct: int, n: int, chance: float) -> float:
    """Return the exact one-sided p-value of `correct` or more right answers of `n` by guessing at rate `chance`.

    If items differ in their number of options, `chance` is the mean of their rates. The true spread is then a little
    smaller than the binomial's, so the test errs on the side of "at chance".
    """
    if n == 0:
        return 1.0
    return float(stats.binomtest(correct, n, chance, alternative="greater").pvalue)


def paired_difference(
    a: NDArray[np.bool_], b: NDArray[np.bool_], seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Return the percentile bootstrap interval of mean(a) - mean(b), resampling items; (-1, 1) if there are none.

    a, b: bool (items,), the same items in the same order. An item adds -1, 0 or +1, so one draw from a multinomial of
    these three has the distribution of a resample of the items, and its cost does not depend on their number.
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
    """Return the p-values of a family of tests after Holm's step-down adjustment, in the given order."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
