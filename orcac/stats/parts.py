"""The width of a comparison's interval and its p-value, from the parts of the variance of the difference.

Drawing the items gives one part of the variance, training again gives the other. The number of items is large and that
of replicates small, so each part has its own quantile: the normal one for items, Student's t with the study's degrees
of freedom for training. The two widths add in quadrature (Cochran; Zou and Donner 2008, "MOVER"). An estimated common
number of degrees of freedom (Satterthwaite) rejects 3 to 5 times too often at the small levels that Holm's adjustment
uses, if there are 2 degrees of freedom; this rule never exceeds its level (normal theory, 1 to 12 degrees of freedom).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Parts", "half_width", "p_value", "quantile"]

SMALLEST_P = 1e-100  # smaller ones are of no use, and scipy returns infinite quantiles near 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of the variance of a difference between two arms' mean scores; each in shares squared."""

    items: float  # drawing the items, with the replicates as they are
    shared: float  # the part of `items` that training again does not vary: the arms are good at different items
    training: float  # training again: luck, and answers that change at random from replicate to replicate
    df: int  # degrees of freedom of `training`; 0 if no arm of the study is replicated
    item_df: float = math.inf  # degrees of freedom of `items` and `shared`: tasks - 1 if tasks are the units


def half_width(parts: Parts, level: float = 0.05) -> float:
    """Return half the width of the interval at confidence 1 - `level`, a share.

    It is never smaller than the width for items alone, which is known well: replicates that agree by chance would
    otherwise give an interval that is known to be too narrow.
    """
    item = quantile(level, parts.item_df)
    width = item * math.sqrt(parts.items)
    if parts.df:
        train = quantile(level, parts.df)
        width = max(width, math.hypot(item * math.sqrt(parts.shared), train * math.sqrt(parts.training)))
    return width


def p_value(difference: float, parts: Parts) -> float:
    """Return the level at which `half_width` equals |difference|: p < level if and only if 0 is outside the interval.

    The smallest value returned is 1e-100.
    """
    from scipy import optimize

    if difference == 0:
        return 1.0

    def excess(log_level: float) -> float:
        return half_width(parts, math.exp(log_level)) - abs(difference)

    smallest = math.log(SMALLEST_P)
    if excess(smallest) <= 0:
        return SMALLEST_P
    return math.exp(optimize.brentq(excess, smallest, 0.0, xtol=1e-13))


def quantile(level: float, df: float) -> float:
    """Return the two-sided quantile of Student's t at `level`; of the normal distribution if `df` is infinite."""
    from scipy import special

    return -float(special.stdtrit(df, level / 2))
