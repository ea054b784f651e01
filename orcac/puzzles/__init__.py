"""Reasoning tasks in the manner of BIG-Bench Hard: made to any number and difficulty, and solved from their text.

The queries are worded as the real ones are, so that a benchmark file and a generated set are interchangeable, and
the solver answers both. `base.py` has the types, one module a task the rest.
"""

from __future__ import annotations

import random

from orcac.errors import InputError
from orcac.puzzles import (
    boolean_expressions,
    logical_deduction,
    navigate,
    object_counting,
    tracking_shuffled_objects,
    web_of_lies,
)
from orcac.puzzles.base import Ending, Puzzle, Solution, Step, Task

__all__ = ["TASKS", "Ending", "Puzzle", "Solution", "Step", "Task", "generate", "solve"]

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (
        boolean_expressions,
        logical_deduction,
        navigate,
        object_counting,
        tracking_shuffled_objects,
        web_of_lies,
    )
}


def generate(task: str, *, size: int, rng: random.Random) -> Puzzle:
    """A puzzle of this task and size. Raises InputError for a task or a size that there is not."""
    if task not in TASKS:
        raise InputError(f"{task}: no such puzzle task", fix=f"use one of {', '.join(TASKS)}")
    kind = TASKS[task]
    if not kind.smallest <= size <= kind.largest:
        raise InputError(
            f"{task}: a puzzle of {size} {kind.size} cannot be made",
            fix=f"give a size of {kind.smallest} to {kind.largest}",
        )
    return kind.generate(size, rng)


def solve(query: str) -> Solution | None:
    """The solution of a query of any of these tasks, from its text alone; None where it is of none of them."""
    for task in TASKS.values():
        solution = task.solve(query)
        if solution is not None:
            return solution
    return None
