"""Generated reasoning tasks as a source: distinct queries, the same for the same task, sizes and seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from orcac import puzzles as tasks
from orcac.errors import InputError
from orcac.sample.formats.item import Item
from orcac.sample.recipe import Puzzles

# Draws without a new query, per known query, after which no puzzle is taken to be left. If one query of n is left, the
# probability to miss it in 20 n equally likely draws is e^-20.
_PATIENCE = 20


def generate(puzzles: Puzzles) -> Iterator[Item]:
    """Yield `puzzles.count` items. Raises InputError, with the number of distinct ones, if there are fewer."""
    rng = random.Random(f"{puzzles.seed}/{puzzles.task}")
    known: set[str] = set()
    misses = 0
    while len(known) < puzzles.count:
        puzzle = tasks.generate(puzzles.task, size=rng.randint(*puzzles.size), rng=rng)
        if puzzle.query in known:
            misses += 1
            if misses > _PATIENCE * max(len(known), 50):
                low, high = puzzles.size
                raise InputError(
                    f"{puzzles.task} of size {low} to {high} has only {len(known):,} distinct puzzles, "
                    f"fewer than {puzzles.count:,}",
                    fix="lower the count or allow larger sizes",
                )
            continue
        known.add(puzzle.query)
        misses = 0
        yield Item(task=puzzles.task, query=puzzle.query, reference=puzzle.reference, options=tuple(puzzle.options))
