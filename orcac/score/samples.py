"""Figures of several answers to each item, beside their mean score (avg@k).

    pass@j     the probability that at least one of j answers is right: 1 - C(k - c, j) / C(k, j) for c right ones of k
               (Chen et al. 2021, §2.1), which is unbiased; pass@k is the share of items with any right answer
    majority   the score of the final answer that most of an item's answers agree on, by the checker's equality. Of
               several such answers one would be drawn: the score is their mean, and the item is counted as a tie. An
               item without any readable answer scores 0

A failed answer does not count among the k; an item with fewer than j answers is not in pass@j.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orcac.rows import Scored

__all__ = ["SampleScores", "sum_up_samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """The figures over all items."""

    samples: int  # k
    passed: dict[int, float]  # j -> pass@j, for the powers of 2 below k, and for k
    majority: float
    ties: int  # items
    unread: int  # items without a readable answer


def sum_up_samples(items: Sequence[Sequence[Scored]], same: Callable[[str, str, Scored], bool]) -> SampleScores | None:
    """Return the figures of items with their answers; None if every item has one answer, or all answers failed.

    same: whether two final answers to an item are equal
    """
    most = max(map(len, items), default=0)
    answered = [known for item in items if (known := [row for row in item if row.score is not None])]
    if most < 2 or not answered:
        return None
    numbers = sorted({2**power for power in range(1, most.bit_length()) if 2**power < most} | {most})
    votes = [_vote(item, same) for item in answered]
    return SampleScores(
        samples=most,
        passed={number: estimate for number in numbers if (estimate := _pass(answered, number)) is not None},
        majority=sum(sum(scores) / len(scores) for scores in votes if scores) / len(votes),
        ties=sum(len(scores) > 1 for scores in votes),
        unread=sum(not scores for scores in votes),
    )


def _pass(items: Sequence[Sequence[Scored]], number: int) -> float | None:
    """Return pass@number; None if no item has so many answers."""
    found = []
    for item in items:
        if (count := len(item)) >= number:
            wrong = sum(row.outcome != "right" for row in item)
            found.append(1 - math.comb(wrong, number) / math.comb(count, number))
    return sum(found) / len(found) if found else None


def _vote(item: Sequence[Scored], same: Callable[[str, str, Scored], bool]) -> list[float]:
    """Return the scores of the final answers that most answers to an item agree on; [] if none could be read."""
    groups: list[list[Scored]] = []
    for row in item:
        if row.outcome in ("right", "wrong"):
            for group in groups:
                if same(row.parsed, group[0].parsed, row):
                    group.append(row)
                    break
            else:
                groups.append([row])
    most = max(map(len, groups), default=0)
    return [group[0].score or 0.0 for group in groups if len(group) == most]
