"""The checker `form`: whether an answer is worded as a teacher words its own, whatever the two say.

A student that has learnt a teacher's style may still be wrong, and one that is right may say so in its own way
(Gudibande et al. 2023). So this measure leaves the content out: a word of the question becomes a place for one, and so
do numbers and the words of a verdict. What is left are the words that the answer adds, its punctuation, its lines and
its length. The score is the F measure of the longest common subsequence of two such forms: that of ROUGE-L, but for
what is compared.
"""

from __future__ import annotations

import re

from orcac.checkers import text
from orcac.checkers.characters import fold
from orcac.checkers.checker import Checker, Item
from orcac.checkers.rouge import LONGEST, overlap

__all__ = ["CHECKER", "read_form"]

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+|[^\w\s]|\n+")
_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBER, _VERDICT, _WORD, _LINE = "<number>", "<verdict>", "<word>", "<line>"  # none of them is a token
_PLACES = dict.fromkeys(_NUMBERS, _NUMBER) | dict.fromkeys(("true", "false", "yes", "no"), _VERDICT)


def read_form(answer: str, query: str) -> list[str]:
    """Return the form of an answer to a question: its tokens in lower case, with places instead of content."""
    asked = {word.lower() for word in _TOKEN.findall(fold(query)) if word.isalpha()}
    return [_place(token.lower(), asked) for token in _TOKEN.findall(fold(answer).strip())[:LONGEST]]


def _place(token: str, asked: set[str]) -> str:
    if token[0].isdigit():
        return _NUMBER
    if token[0] == "\n":
        return _LINE
    return _PLACES.get(token) or (_WORD if token in asked else token)


def score(value: str, item: Item) -> float:
    """Return the F measure of an answer's form against that of the reference, the teacher's answer."""
    return overlap(read_form(value, item.query), read_form(item.reference, item.query))


CHECKER = Checker(name="form", read=text.read_passage, same=text.same, score=score)
