"""The verdicts on a family of comparisons: p-values adjusted for their number, and one word for each.

A family is all arm-base comparisons of a report, of the arms and on the benchmarks that its spec names primary. Holm's
adjustment needs valid p-values and no independence, so arms may share their base. Intervals stay at 95 % each.

"better" and "worse" speak of an arm, so they need replicates. If nothing is replicated, a significant difference is one
of two models: "scores higher" or "scores lower" on these items. Comparisons outside the family are exploratory: they
have an interval and an unadjusted p-value, and no word.

"equal" needs a margin that was named before, and replicates: the 90 % interval lies within the margin, so that both
one-sided tests at 5 % exclude a larger difference (TOST).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orcac.stats.compare import Comparison

__all__ = ["LEVEL", "Verdict", "Word", "explore", "holm", "judge"]

LEVEL = 0.05

Word = Literal["better", "worse", "equal", "no difference shown", "scores higher", "scores lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A comparison with its decision; `p_holm` and `word` are None if it is exploratory."""

    comparison: Comparison
    p_holm: float | None  # adjusted for all comparisons of the family
    word: Word | None
    margin: float | None = None  # the share within which two arms are called equal


def judge(comparisons: Sequence[Comparison], margins: Sequence[float | None] = ()) -> list[Verdict]:
    """Return the verdicts on one family of comparisons, in the given order.

    margins: for each comparison, the share within which its arms are called equal, or None; none has one when empty.
    """
    adjusted = holm([comparison.p for comparison in comparisons])
    return [
        Verdict(comparison=comparison, p_holm=p_holm, word=_decide(comparison, p_holm, margin), margin=margin)
        for comparison, p_holm, margin in zip(comparisons, adjusted, margins or [None] * len(comparisons), strict=True)
    ]


def explore(comparison: Comparison) -> Verdict:
    """Return a comparison outside the family, which is reported without a verdict."""
    return Verdict(comparison=comparison, p_holm=None, word=None)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests after Holm's step-down adjustment, in the given order."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _decide(comparison: Comparison, p_holm: float, margin: float | None) -> Word:
    if p_holm < LEVEL:
        if comparison.is_replicated:
            return "better" if comparison.difference > 0 else "worse"
        return "scores higher" if comparison.difference > 0 else "scores lower"
    if margin is not None and comparison.is_replicated:
        low, high = comparison.interval_at(2 * LEVEL)
        if -margin < low and high < margin:
            return "equal"
    return "no difference shown"
