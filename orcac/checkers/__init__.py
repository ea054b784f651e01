"""Checkers: the final answer in a model's prose, and whether it agrees with a reference.

`CHECKERS` is the one registry, which filters and scores share. A checker reads a response into an `Extraction`,
compares two values, and gives a value a score in [0, 1].

    option    one of the item's options, by label, text or number       option.py, choices.py
    number    quantities with their units, dates, times                 number.py, quantity.py, units.py, moment.py
    math      expressions, by math-verify in a process of its own       expression.py, math_worker.py
    text      equal after normalisation                                 text.py
    rouge-l   longest common subsequence of words                       rouge.py
    form      the wording of a teacher's answer, without content    form.py
    auto      one of the first four, chosen by the item                 auto.py
    first-capital, final-answer                                         version1/: the rules of finished artifacts

Their common parts are in `visible.py` (which part of a response counts), `statements.py` (where it states an answer),
`characters.py` and `plain.py` (one spelling). `references.py` has the rule by which references meet options and
answers, and checks the items themselves.

A checker reads strings. It may import no kind, no model and no store, and it may ask no model. Responses are untrusted:
every pattern has bounded repetitions, so a response of 100,000 characters is read in linear time.
"""

from __future__ import annotations

from orcac.checkers import auto, form, math, number, option, rouge, text
from orcac.checkers.checker import Checker, Extraction, Item, Outcome, found
from orcac.checkers.option.choices import name_options
from orcac.checkers.references import contradicts, find_option, judge, reference_fault
from orcac.checkers.version1 import Parser, final_answer, same_answer

__all__ = [
    "CHECKERS",
    "Checker",
    "Extraction",
    "Item",
    "Outcome",
    "Parser",
    "contradicts",
    "final_answer",
    "find_option",
    "judge",
    "name_options",
    "reference_fault",
    "same_answer",
]


def _version1(parser: Parser) -> Checker:
    def same(value: str, other: str, item: Item) -> bool:
        return same_answer(value, other)

    return Checker(
        name=parser,
        read=lambda response, item: found(final_answer(response, item.options, parser)),
        same=same,
        score=lambda value, item: float(same_answer(value, item.reference)),
    )


CHECKERS: dict[str, Checker] = {
    checker.name: checker
    for checker in (
        auto.CHECKER,
        option.CHECKER,
        number.CHECKER,
        math.CHECKER,
        text.CHECKER,
        rouge.CHECKER,
        form.CHECKER,
        _version1("final-answer"),
        _version1("first-capital"),
    )
}
