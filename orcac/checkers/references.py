"""References: whether an item can be scored at all, and whether an answer contradicts its reference.

Finished artifacts hold the results of version 1, so its two rules keep their behaviour here: any free-form reference
can be scored, and a passage can be contradicted.
"""

from __future__ import annotations

from orcac.checkers.checker import Checker, Item
from orcac.checkers.statements import answer_in
from orcac.checkers.text import is_passage

_VERSION1 = ("final-answer", "first-capital")


def reference_fault(item: Item, checker: Checker) -> str:
    """Return why the item's own reference would not be counted as right; "" if it would.

    Such an item is left out of n and reported: no answer to it could be right.
    """
    if not item.reference.strip():
        return "there is no reference"
    options = [option for option in item.options if option.strip()]
    if options and not any(checker.same(option, item.reference, item) for option in options):
        return "the reference is not one of the options"
    if checker.name in _VERSION1:
        return ""
    extraction = checker.read(item.reference, item)
    if extraction.outcome != "read":
        return "no answer can be read from the reference"
    if checker.score(extraction.value, item) < 1:
        return "the reference does not score 1 against itself"
    return ""


def contradicts(response: str, item: Item, checker: Checker) -> bool:
    """Return whether a response states another answer than the reference.

    False if no answer can be read, and if the reference is a passage: another wording is not a contradiction.
    """
    if not item.reference or (is_passage(answer_in(item.reference)) and checker.name not in _VERSION1):
        return False
    extraction = checker.read(response, item)
    return extraction.outcome == "read" and checker.score(extraction.value, item) == 0
