"""Puzzles: reasoning tasks after BIG-Bench Hard, generated in any number and difficulty, and solved from their text.

The queries are worded like the real ones, so that a benchmark file and a generated set are interchangeable and the
solver answers both. `base.py` has the types, each task has a module, and `wording.py` puts a solution into words.

Every generated query and every solution is determined by its arguments and enters artifacts, so a change of the text
or of the order of random draws remakes them. A puzzle is plain text: this room may import no kind, no model, no store.
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
    """Generate a puzzle. Raises InputError if there is no such task, or if the task has no puzzles of this size."""
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
    """Solve a query from its text alone. Return None if it belongs to no task."""
    for task in TASKS.values():
        solution = task.solve(query)
        if solution is not None:
            return solution
    return None
