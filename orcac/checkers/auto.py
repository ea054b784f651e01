"""The checker `auto`: for each item, the checker that fits it.

    options                                         option
    a reference that is a number, a date, a time    number
    a reference that is an expression               math, which needs math-verify
    any other reference, or none                    text (without a reference, a number if the response states one)

The choice depends on the item alone: not on the response, so that all answers to an item are read alike, and not on
the installed packages, so that a score is the same on every machine. Raises InputError if math-verify is missing where
it is needed.
"""

from __future__ import annotations

import functools

from orcac.checkers import math, number, option, text
from orcac.checkers.characters import fold
from orcac.checkers.checker import Checker, Extraction, Item
from orcac.checkers.number import moment, quantity
from orcac.checkers.statements import answer_in


def choose(item: Item) -> Checker:
    """Return the checker for an item."""
    return option.CHECKER if any(one.strip() for one in item.options) else _choose_by(item.reference)


@functools.lru_cache(maxsize=1024)
def _choose_by(reference: str) -> Checker:
    """Return the checker for an item without options."""
    reference = answer_in(reference)
    if number.is_number(reference):
        return number.CHECKER
    if math.is_expression(reference):
        return math.CHECKER
    return text.CHECKER


def read(response: str, item: Item) -> Extraction:
    """Return the answer that the item's checker reads."""
    checker = choose(item)
    extraction = checker.read(response, item)
    if not item.reference and checker is text.CHECKER:
        as_number = number.read(response, item)
        if as_number.outcome != "unparsed":
            checker, extraction = number.CHECKER, as_number
    return extraction._replace(checker=checker.name)


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two values are equal: by the item's options, else as quantities, expressions or texts."""
    if any(one.strip() for one in item.options):
        return option.same(value, other, item)
    if not value or not other:
        return False
    first, second = fold(value), fold(other)
    quantities = quantity.parse(first) is not None and quantity.parse(second) is not None
    if quantities or (moment.parse(first) is not None and moment.parse(second) is not None):
        return number.same(value, other, item)
    if math.is_expression(value) or math.is_expression(other):
        return math.same(value, other, item)
    return text.same(value, other, item)


def score(value: str, item: Item) -> float:
    """Return the score that the item's checker gives."""
    return choose(item).score(value, item)


CHECKER = Checker(name="auto", read=read, same=same, score=score)
