"""The scores of one student on one benchmark: over all items, and task by task.

What could not be parsed counts as wrong and is reported beside the accuracy. `chance` is what guessing
uniformly among each item's options would get: the mean of 1/len(options), where a free-form item adds 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from orcac.rows import Answer
from orcac.stats import beats_chance, wilson

__all__ = ["score"]


def score(answers: Sequence[Answer]) -> dict[str, Any]:
    """The content of `scores.json`: shares are in [0, 1], `interval` is Wilson's at 95 %."""
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
