"""The scores of one student on one benchmark: over all items, and task by task.

An answer that could not be parsed counts as wrong; the number of these is reported beside the accuracy. `chance` is the
expected accuracy of a uniform guess among each item's options: the mean of 1/len(options), or 0 for a free-form item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from orcac.rows import Answer
from orcac.stats import beats_chance, wilson

__all__ = ["score"]


def score(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the content of `scores.json`: shares are in [0, 1], `interval` is Wilson's at 95 %."""
    tasks: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        tasks[answer.task].append(answer)
    return {**_score(answers), "tasks": {task: _score(tasks[task]) for task in sorted(tasks)}}


def _score(answers: Sequence[Answer]) -> dict[str, Any]:
    n, correct = len(answers), sum(answer.correct for answer in answers)
    unparsed = sum(not answer.parsed for answer in answers)
    chance = sum(1 / len(answer.options) for answer in answers if answer.options) / n
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "interval": list(wilson(correct, n)),
        "unparsed": unparsed,
        "unparsed_share": unparsed / n,
        "chance": chance,
        "p_above_chance": beats_chance(correct, n, chance),
    }
