"""The 90 % interval of the mean of answers that are still to come, from the answers of a pilot.

Lengths of answers have a long right tail. So a small pilot often misses the longest answers, and then its mean and its
spread are both too small. The interval is that of the bootstrap-t (Efron and Tibshirani 1993, section 12.5), which
learns from the pilot how such means err, and on neither side closer than Student's t. docs/cost-model.md has its
coverage on recorded lengths.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ENOUGH", "predict"]

ENOUGH = 10  # prompts whose answers have a spread that is worth a look
_MOST = 500  # prompts of a bootstrap; with more, Student's t covers as well
_DRAWS = 999
_TAIL = 0.05
_LEAST = 0.05  # low end, as a share of the mean


def predict(lengths: np.ndarray | None, n: int, remaining: float = math.inf) -> tuple[float, float]:
    """Return the ends of the 90 % interval of the mean of further answers, as shares of the mean of these.

    lengths: float64 (prompts,), the mean length of the answers to each prompt, which are drawn at random; None if they
    are not known. n: answers. remaining: prompts whose answers the mean is of.

    Without lengths, or with those of fewer than ENOUGH prompts, it is a factor that depends on the number of answers.
    """
    if lengths is None or len(lengths) < ENOUGH:
        factor = 1 + (2 if lengths is None else 4) / math.sqrt(n)
        return 1 / factor, factor
    count, mean, deviation = len(lengths), float(lengths.mean()), float(lengths.std(ddof=1))
    error = deviation / mean * math.sqrt(1 / count + 1 / max(remaining, 1.0))
    low, high = _student(count - 1), _student(count - 1)
    if count <= _MOST and deviation:
        below, above = _bootstrap(lengths)
        low, high = max(low, above), max(high, -below)
    return max(1 - low * error, _LEAST), 1 + high * error


def _bootstrap(lengths: np.ndarray) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of (mean of a resample - mean) / its own standard error."""
    import numpy as np

    lengths, weights = np.sort(lengths), _weights(len(lengths))  # whatever the order of the answers
    means = weights @ lengths
    variances = np.maximum(weights @ lengths**2 - means**2, 0.0) * len(lengths) / (len(lengths) - 1)
    errors = np.sqrt(variances / len(lengths))
    has_spread = errors > 0
    errors = (means - lengths.mean())[has_spread] / errors[has_spread]
    low, high = np.quantile(errors, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def _weights(count: int) -> np.ndarray:
    """Return the share of each of `count` values in each resample: float64 (draws, count)."""
    import numpy as np

    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_DRAWS) / count


def _student(freedom: int) -> float:
    """Return the 95 % quantile of Student's t, by its expansion; right to 0.002 from 9 degrees of freedom on.

    scipy has it too, and takes longer to import than `orcac diff` takes in all.
    """
    z = NormalDist().inv_cdf(1 - _TAIL)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
