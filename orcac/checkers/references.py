"""References: the option that one names, whether an item can be scored at all, and whether an answer agrees.

`find_option` is the rule by which a reference meets its options: `sample` writes every reference as the option that it
names. `judge` is the rule by which an answer meets the reference: a copy of the reference is right under every checker,
whatever the checker would read in it. Under version 1, 278 of the 7,357 references of Natural Instructions contradicted
themselves, since a reference in quotes lost one of them. `filter` and `score` share this rule.
"""

from __future__ import annotations

from orcac.checkers.characters import fold
from orcac.checkers.checker import Checker, Extraction, Item
from orcac.checkers.option.choices import choices
from orcac.checkers.statements import answer_in
from orcac.checkers.text import is_passage

_VERSION1 = ("final-answer", "first-capital")


def find_option(text: str, item: Item) -> int | None:
    """Return the index of the option that a text names: the same text, else by text, name or label; None if none."""
    if not text.strip():
        return None
    if text in item.options:
        return item.options.index(text)
    return choices(item.options, item.query).whole(fold(text))


def judge(response: str, item: Item, checker: Checker) -> tuple[Extraction, float]:
    """Return the final answer of a response and its score in [0, 1]."""
    extraction = checker.read(response, item)
    score = checker.score(extraction.value, item)
    if score < 1 and _is_copy(response, item.reference):
        return Extraction(item.reference, "read", extraction.checker), 1.0
    return extraction, score


def reference_fault(item: Item, checker: Checker) -> str:
    """Return why the checker would not read the item's own reference as right; "" if it would.

    Such an item is left out of n and reported: no answer but a copy of the reference could be right.
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
    extraction, score = judge(response, item, checker)
    return extraction.outcome == "read" and score == 0


def _is_copy(response: str, reference: str) -> bool:
    """Return whether a response is the reference, except for white space."""
    words, folded = fold(reference).split(), fold(response)
    return bool(words) and folded.lstrip().startswith(words[0]) and folded.split() == words
