"""The interval of one score, and the exact tests of counts.

These cover the random choice of items and nothing else. The comparison of two arms is in `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Interval", "binomial_p_value", "mcnemar", "student_t", "wilson"]


class Interval(NamedTuple):
    """The ends of an interval of a share or of a difference of shares."""

    low: float
    high: float


def wilson(total: float, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of the mean of n scores in [0, 1] with the sum `total`; (0, 1) if n is 0.

    Scores between 0 and 1 vary less than rights and wrongs of the same mean, so their interval is wide enough.
    """
    from scipy import special

    if n == 0:
        return Interval(0.0, 1.0)
    z, share = float(special.ndtri((1 + confidence) / 2)), total / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return Interval(max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))  # whatever the rounding


def student_t(scores: Sequence[float]) -> Interval:
    """Return the 95 % interval of the mean of measured scores in [0, 1] by Student's t, within [0, 1].

    It is (0, 1) if there are fewer than 2 scores.
    """
    import numpy as np
    from scipy import special

    n = len(scores)
    if n < 2:
        return Interval(0.0, 1.0)
    mean, half = np.mean(scores), special.stdtrit(n - 1, 0.975) * np.std(scores, ddof=1) / math.sqrt(n)
    return Interval(max(0.0, float(mean - half)), min(1.0, float(mean + half)))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the p-value of McNemar's exact two-sided test that two models are equally accurate.

    `only_a` and `only_b` count the items that only that model got right.
    """
    if only_a == only_b:
        return 1.0
    return min(1.0, 2 * binomial_p_value(max(only_a, only_b), only_a + only_b, 0.5))


def binomial_p_value(correct: int, n: int, chance: float) -> float:
    """Return the exact one-sided p-value of `correct` or more right answers of `n` by guessing at rate `chance`.

    If items differ in their number of options, `chance` is the mean of their rates. The true spread is then a little
    smaller than the binomial's, so the test errs on the side of "at chance".
    """
    from scipy import special  # the same digits as scipy.stats.binomtest, which takes another 0.5 s to import

    return float(special.betainc(correct, n - correct + 1, chance)) if correct else 1.0
