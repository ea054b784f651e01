"""The types of a reasoning task, and the few bits of wording that several tasks share.

A task is two functions that know nothing of each other: `generate` makes a query and knows its answer because it
made it; `solve` reads a query, from wherever it comes, and reasons. A teacher is a `solve` with a way of wording
what it found (`wording.py`), so it can no more see a reference than any other teacher can.

A solution carries its own mistake: `wrong` is what a careless reasoner would say in place of the last step. Only
the task knows what a plausible slip looks like; whether it is made is the teacher's affair.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """A generated query. `options` are the allowed final answers; [] where the answer is a number."""

    query: str
    reference: str
    options: list[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of working: `full` justifies itself, `brief` only states what was found ("": left out)."""

    full: str
    brief: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The last step and the answer that it leads to."""

    step: Step
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What a solver found: the steps in order, and the last of them with its answer, done right and done wrong."""

    steps: tuple[Step, ...]
    right: Ending
    wrong: Ending
    hard: bool  # whether a reasoner of modest skill may fail at it

    @property
    def answer(self) -> str:
        return self.right.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`generate(size, rng)` makes a puzzle; `solve(query)` is None where the query is not of this task."""

    name: str
    size: str  # what the size counts
    smallest: int
    largest: int
    generate: Callable[[int, random.Random], Puzzle]
    solve: Callable[[str], Solution | None]


def names(text: str) -> tuple[str, ...]:
    """The names in a table that is written as a list with commas."""
    return tuple(text.split(", "))


def listed(items: Sequence[str]) -> str:
    """`a and b`, or `a, b, and c`."""
    *rest, last = items
    return f"{rest[0]} and {last}" if len(rest) == 1 else ", ".join([*rest, f"and {last}"])


def split_list(text: str) -> list[str]:
    """The items of what `listed` makes."""
    return re.split(r", and |, | and ", text)


def with_article(noun: str) -> str:
    """`a plum`, `an apple`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def letter(index: int) -> str:
    """The answer `(A)` for 0, `(B)` for 1, ..."""
    return f"({LETTERS[index]})"


def lettered(texts: Sequence[str]) -> str:
    """The block of options that ends a multiple-choice query."""
    return "\n".join(["Options:", *(f"{letter(i)} {text}" for i, text in enumerate(texts))])


def read_lettered(query: str) -> dict[str, str]:
    """The options of a query, answer -> text, in order; {} where it lists none."""
    return dict(re.findall(r"^(\([A-Z]\)) (.+?)\s*$", query, flags=re.MULTILINE))
