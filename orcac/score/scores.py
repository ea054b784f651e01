"""The scores of one model on one benchmark: over all items, and task by task.

Items that failed leave n; every other item counts with its score. `chance` is the expected score of a uniform guess
among each item's options: the mean of 1/len(options), or 0 for a free-form item.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from orcac.rows import Outcome, Scored
from orcac.stats.intervals import Interval, binomial_p_value, wilson

__all__ = ["BenchmarkScores", "Scores", "constant_score", "sum_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores over some items; shares and scores are in [0, 1]."""

    n: int  # items that did not fail
    score: float | None  # the mean; None if n is 0
    interval: Interval  # Wilson, 95 %
    outcomes: dict[str, int]  # of every kind, the failed ones included
    chance: float
    p_above_chance: float
    others: dict[str, float]  # further checker -> mean score


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkScores(Scores):
    """The content of `scores.json`: the scores over all items, and those of each task."""

    checkers: tuple[str, ...]  # the first one decides
    left_out: int  # items whose reference cannot be scored, which are in none of the counts
    tasks: dict[str, Scores]


def sum_up(rows: Sequence[Scored], checkers: Sequence[str], left_out: int = 0) -> BenchmarkScores:
    """Return the scores of a benchmark; tasks are sorted by name."""
    tasks: dict[str, list[Scored]] = defaultdict(list)
    for row in rows:
        tasks[row.task].append(row)
    whole = _sum_up(rows, checkers)
    return BenchmarkScores(
        n=whole.n,
        score=whole.score,
        interval=whole.interval,
        outcomes=whole.outcomes,
        chance=whole.chance,
        p_above_chance=whole.p_above_chance,
        others=whole.others,
        checkers=tuple(checkers),
        left_out=left_out,
        tasks={task: _sum_up(tasks[task], checkers) for task in sorted(tasks)},
    )


def _sum_up(rows: Sequence[Scored], checkers: Sequence[str]) -> Scores:
    counted = [row for row in rows if row.score is not None]
    n, total = len(counted), sum(row.score or 0.0 for row in counted)
    outcomes = Counter(row.outcome for row in rows)
    chance = sum(1 / len(row.options) for row in counted if row.options) / n if n else 0.0
    return Scores(
        n=n,
        score=total / n if n else None,
        interval=wilson(total, n),
        outcomes={outcome: outcomes[outcome] for outcome in get_args(Outcome)},
        chance=chance,
        # scores between 0 and 1 vary less than rights and wrongs of the same mean, so the test stays valid
        p_above_chance=binomial_p_value(math.floor(total + 1e-9), n, chance),
        others={
            checker: sum(row.others_score[index] for row in counted) / n
            for index, checker in enumerate(checkers[1:])
            if n
        },
    )


def constant_score(rows: Sequence[Scored]) -> float:
    """Return the accuracy of always giving a task's most frequent right answer."""
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        right[row.task][row.reference] += 1
    return sum(max(counts.values()) for counts in right.values()) / len(rows)
