"""The types of a reasoning task, and the bits of wording that several tasks share.

A task is two functions that know nothing of each other: `generate` makes a query, whose answer it knows by
construction; `solve` reads any query, generated or not, and works its answer out. A teacher is a `solve` whose solution
`wording.py` puts into words. So, like any other teacher, it never sees the reference.

A solution includes a plausible mistake: `wrong` is the last step of a careless reasoner. Only the task knows such a
mistake; whether a teacher makes it is decided in `wording.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """A generated query. `options` are the allowed final answers; [] if the answer is a number."""

    query: str
    reference: str
    options: list[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of working: `full` gives the reason, `brief` the result alone ("" if the line is left out)."""

    full: str
    brief: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The last step and the answer that it leads to."""

    step: Step
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The working on a query: all steps but the last in order, and the last one with its answer, right and wrong."""

    steps: tuple[Step, ...]
    right: Ending
    wrong: Ending
    hard: bool  # whether a reasoner of modest skill may fail at it

    @property
    def answer(self) -> str:
        return self.right.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of puzzle. `generate(size, rng)` makes one; `solve(query)` returns None for a query of another task."""

    name: str
    size: str  # the things that the size counts, e.g. "people"
    smallest: int
    largest: int
    generate: Callable[[int, random.Random], Puzzle]
    solve: Callable[[str], Solution | None]
    distinct: Mapping[int, int] = field(default_factory=dict)  # size -> number of its queries, if these are few

    def count_distinct(self, smallest: int, largest: int) -> int | None:
        """Return the number of distinct queries of these sizes; None if one of the sizes has very many."""
        counts = [self.distinct.get(size) for size in range(smallest, largest + 1)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a text that lists them with commas."""
    return tuple(text.split(", "))


def join_list(items: Sequence[str]) -> str:
    """Return the items as a list in a sentence: `a and b`, or `a, b, and c`."""
    *rest, last = items
    return f"{rest[0]} and {last}" if len(rest) == 1 else ", ".join([*rest, f"and {last}"])


def split_list(text: str) -> list[str]:
    """Return the items of a text that `join_list` made."""
    return re.split(r", and |, | and ", text)


def add_article(noun: str) -> str:
    """Return the noun with its article: `a plum`, `an apple`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def option_letter(index: int) -> str:
    """Return the answer with this index: `(A)` for 0, `(B)` for 1, ..."""
    return f"({LETTERS[index]})"


def write_options(texts: Sequence[str]) -> str:
    """Return the block of options that ends a multiple-choice query."""
    return "\n".join(["Options:", *(f"{option_letter(i)} {text}" for i, text in enumerate(texts))])


def read_options(query: str) -> dict[str, str]:
    """Return the options of a query, answer -> text, in order; {} if it lists no options."""
    return dict(re.findall(r"^(\([A-Z]\)) (.+?)\s*$", query, flags=re.MULTILINE))
