"""The types of every checker: the item that it is given, the result of reading, and its functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Outcome = Literal["read", "unparsed", "ambiguous"]


class Item(NamedTuple):
    """The parts of an item that a checker may use.

    Reading an answer uses of `reference` its kind alone (a number, an expression, a passage, ...), never its value.
    """

    options: tuple[str, ...] = ()  # the allowed answers; () is free-form
    reference: str = ""
    query: str = ""  # texts of lettered options are read from its list of them


class Extraction(NamedTuple):
    """The final answer of a response. `value` is "" unless the outcome is "read"."""

    value: str
    outcome: Outcome
    checker: str = ""  # the checker that read it, which `auto` chooses item by item


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A way to read answers and to compare them."""

    name: str
    read: Callable[[str, Item], Extraction]
    same: Callable[[str, str, Item], bool]  # two values, or a value and a reference; "" is equal to nothing
    score: Callable[[str, Item], float]  # in [0, 1]: a value against the item's reference


def found(value: str) -> Extraction:
    """Return the extraction of a value, which is unparsed if it is ""."""
    return Extraction(value, "read" if value else "unparsed")


UNPARSED = Extraction("", "unparsed")
AMBIGUOUS = Extraction("", "ambiguous")
