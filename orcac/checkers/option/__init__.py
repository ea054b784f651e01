"""The checker `option`: answers that are one of an item's options.

Four ways to read a response are tried in order:
  1. the last statement that names an option ("the answer is (B)", a boxed letter) or calls one correct;
  2. the last concluding sentence or choice that names one: "Therefore, the most likely cause is D) ...", "I pick B";
  3. an option that is the first or the last line, or a yes or no that opens the response;
  4. the only option that the response names, if it opens or ends the response, or the only one that it does not deny.

Options that a sentence denies ("not A", "(A) is wrong") are not named by it. A statement that names two leaves the
response ambiguous, and one that names none of them on purpose ("none of the above") leaves it unparsed. A response that
opens with one option and concludes with another is ambiguous.
"""

from __future__ import annotations

from orcac.checkers.characters import fold
from orcac.checkers.checker import AMBIGUOUS, UNPARSED, Checker, Extraction, Item
from orcac.checkers.option.choices import Choices, choices
from orcac.checkers.option.concluded import concluded
from orcac.checkers.option.edges import at_edge, left, only
from orcac.checkers.option.reading import NONE, TWO, Reading
from orcac.checkers.option.stated import stated
from orcac.checkers.visible import visible

__all__ = ["CHECKER", "read", "same", "score"]


def read(response: str, item: Item) -> Extraction:
    """Return the option that a response chooses, spelled as in the item."""
    offered = choices(item.options, item.query)
    text = visible(fold(response), item.query)
    if not item.options and "\n" not in text:  # of several lines, a list of answers is ambiguous
        return UNPARSED
    chosen = offered.whole(text)
    if chosen is None:
        chosen = _choose(Reading(text, offered))
    if chosen is None or chosen == NONE:
        return UNPARSED
    return AMBIGUOUS if chosen == TWO else Extraction(item.options[chosen], "read")


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two texts name one option."""
    offered = choices(item.options, item.query)
    first, second = (_index(text, offered) for text in (value, other))
    return first is not None and first == second


def score(value: str, item: Item) -> float:
    """Return 1 for the option that the reference names, else 0."""
    return float(same(value, item.reference, item))


CHECKER = Checker(name="option", read=read, same=same, score=score)


def _index(text: str, offered: Choices) -> int | None:
    if not text.strip():
        return None
    return offered.options.index(text) if text in offered.options else offered.whole(fold(text))


def _choose(reading: Reading) -> int | None:
    statement = stated(reading)
    if statement and statement[1] != TWO:
        return statement[1]
    conclusion = concluded(reading)
    if statement:
        corrected = conclusion and conclusion > statement and conclusion[1] >= 0
        return conclusion[1] if corrected and conclusion else TWO  # "both A and D fit, but D is the best answer"
    edge = at_edge(reading)
    if conclusion is None:
        return next((one for one in (edge, only(reading), left(reading)) if one is not None), None)
    return TWO if conclusion[1] >= 0 and edge not in (conclusion[1], TWO, None) else conclusion[1]
