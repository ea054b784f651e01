"""The scores of one student on one benchmark: over all items, and task by task.

An answer that could not be parsed counts as wrong; the number of these is reported beside the accuracy. `chance` is the
expected accuracy of a uniform guess among each item's options: the mean of 1/len(options), or 0 for a free-form item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from orcac.rows import Answer
from orcac.stats.intervals import Interval, binomial_p_value, wilson

__all__ = ["BenchmarkScores", "Scores", "score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores over some items; shares are in [0, 1]."""

    n: int
    correct: int
    accuracy: float
    interval: Interval  # Wilson, 95 %
    unparsed: int
    unparsed_share: float
    chance: float
    p_above_chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkScores(Scores):
    """The content of `scores.json`: the scores over all items, and those of each task."""

    tasks: dict[str, Scores]


def score(answers: Sequence[Answer]) -> BenchmarkScores:
    """Return the scores of answers, of which there must be one or more; tasks are sorted by name."""
    tasks: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        tasks[answer.task].append(answer)
    whole = _score(answers)
    return BenchmarkScores(
        n=whole.n,
        correct=whole.correct,
        accuracy=whole.accuracy,
        interval=whole.interval,
        unparsed=whole.unparsed,
        unparsed_share=whole.unparsed_share,
        chance=whole.chance,
        p_above_chance=whole.p_above_chance,
        tasks={task: _score(tasks[task]) for task in sorted(tasks)},
    )


def _score(answers: Sequence[Answer]) -> Scores:
    n, correct = len(answers), sum(answer.correct for answer in answers)
    unparsed = sum(not answer.parsed for answer in answers)
    chance = sum(1 / len(answer.options) for answer in answers if answer.options) / n
    return Scores(
        n=n,
        correct=correct,
        accuracy=correct / n,
        interval=wilson(correct, n),
        unparsed=unparsed,
        unparsed_share=unparsed / n,
        chance=chance,
        p_above_chance=binomial_p_value(correct, n, chance),
    )
