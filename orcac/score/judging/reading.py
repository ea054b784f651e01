"""The numbers in a judge's review, by the parser that its prompt names.

    first-line    two scores alone on the first line, as in "8 9": all that a general review begins with
    last-scores   the last scores that a review states: a pair in brackets that is announced or alone on its line, or a
                  score for each answer by its number. For prompts that let the judge work before it scores
    rating        one score: "Rating: 7", "7/10", "[[7]]", or a number alone on the first line
    verdict       the last of [[A]], [[B]] and [[C]] that is not a quotation

Scores are from 1 to 10. A review that states another number, or none, is unread: no number is guessed or clipped.
Patterns have bounded repetitions, so a long review is read in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from orcac.filter.refusals import is_refusal
from orcac.score.recipe import HIGHEST, LOWEST

__all__ = ["READERS", "Fault", "Reading", "read_review"]

Fault = Literal["", "refused", "unread"]


class Reading(NamedTuple):
    """The numbers of a review in the order in which the answers were shown; none if there is a fault."""

    numbers: tuple[float, ...]
    fault: Fault = ""


def read_review(reader: str, text: str, refusal: str = "") -> Reading:
    """Return the numbers that a review states. `refusal` holds the judge's words if its server marks a refusal."""
    numbers = () if refusal else READERS[reader](text)
    if numbers:
        return Reading(numbers)
    return Reading((), "refused" if refusal or is_refusal(text) else "unread")


_NUMBER = r"(-?\d{1,4}(?:\.\d{1,4})?)(?: ?/ ?10(?![\d.]))?"
_ANSWER = r"(?:assistant|answer|response|model)(?:'s)?"
_PAIR = re.compile(
    rf"(?:scores?\s{{0,3}}[:=]\s{{0,3}})?[(\[]?(?:{_ANSWER} (?:1|a|one)\s?[:=-]\s?)?{_NUMBER}[\s,;|&]{{1,4}}"
    rf"(?:and )?(?:{_ANSWER} (?:2|b|two)\s?[:=-]\s?)?{_NUMBER}[)\]]?\.?",
    re.IGNORECASE,
)
_ONE = re.compile(rf"{_ANSWER} (?:1|a|one)\s?[:=-]\s?{_NUMBER}", re.IGNORECASE)
_LABELLED = [
    re.compile(
        rf"{_ANSWER} (?:{name})(?:'s)?(?: score)?(?:\s?[:=-]\s?| [a-z ]{{0,30}}\bscore of )"
        rf"{_NUMBER}(?![\w^*+/=]|\.\d|\s[-+*/=])",
        re.IGNORECASE,
    )
    for name in ("1|A|one", "2|B|two")
]
_GIVEN = re.compile(
    rf"{_NUMBER} (?:points )?(?:to|for) {_ANSWER} (?:1|A|one)\b[^\n]{{1,80}}?{_NUMBER} (?:points )?(?:to|for) "
    rf"{_ANSWER} (?:2|B|two)\b",
    re.IGNORECASE,
)
_APART = 400  # characters between the scores of the two answers, at most
_NEAR = 80  # characters on the line of a pair that tell whether it is one of scores
_TUPLE = re.compile(rf"[(\[]\s?{_NUMBER}\s?,\s?{_NUMBER}\s?[)\]]")
_ANNOUNCED = re.compile(r"\b(?:scores?|output|ratings?|tuple|evaluation)\b", re.IGNORECASE)
_RATING = re.compile(rf"\[\[\s?{_NUMBER}\s?\]\]|\b(?:rating|score)\s?(?:is|:|=)\s?{_NUMBER}(?![\w.])", re.IGNORECASE)
_ALONE = re.compile(rf"{_NUMBER}\.?")
_VERDICT = re.compile(r"\[\[\s?(A|B|C|tie)\s?\]\]", re.IGNORECASE)
_QUOTES = "\"'`“”‘’«»"
_WON = {"a": (1.0, 0.0), "b": (0.0, 1.0), "c": (0.5, 0.5), "tie": (0.5, 0.5)}


def _read_first_line(text: str) -> tuple[float, ...]:
    first, *others = [line.strip() for line in _plain(text).splitlines() if line.strip()] or [""]
    match = _PAIR.fullmatch(first)
    if match is None and others and _ONE.fullmatch(first):  # each answer's score has a line
        match = _PAIR.fullmatch(f"{first}, {others[0]}")
    return _in_range(match[1], match[2]) if match else ()


def _read_last_scores(text: str) -> tuple[float, ...]:
    plain = _plain(text)
    given = ((match.end(), (match[1], match[2])) for match in _GIVEN.finditer(plain))
    stated = [*_find_labelled(plain), *_find_tuples(plain), *given]
    return _in_range(*max(stated)[1]) if stated else _read_first_line(text)


def _find_labelled(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (end, scores) where a text states the scores of both answers by their numbers."""
    first = None
    for match in sorted((match for one in _LABELLED for match in one.finditer(text)), key=lambda match: match.start()):
        if match.re is _LABELLED[0]:
            first = match
        elif first and match.start() - first.end() <= _APART:
            yield match.end(), (first[1], match[1])


def _find_tuples(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (end, scores) of pairs in brackets, unless nothing marks them as scores: then they may be coordinates."""
    for match in _TUPLE.finditer(text):
        before = text[max(0, match.start() - _NEAR) : match.start()].rpartition("\n")[2]
        after = text[match.end() : match.end() + _NEAR].partition("\n")[0]
        if _ANNOUNCED.search(before) or not (before.strip() or after.strip(" .")):
            yield match.end(), (match[1], match[2])


def _read_rating(text: str) -> tuple[float, ...]:
    plain = _plain(text)
    stated = [next(filter(None, match.groups())) for match in _RATING.finditer(plain)]
    if not stated:
        line = next((line for line in plain.splitlines() if line.strip()), "").strip()
        stated = [match[1]] if (match := _ALONE.fullmatch(line)) else []
    return _in_range(stated[-1]) if stated else ()


def _read_verdict(text: str) -> tuple[float, ...]:
    stated = ""
    for line in text.splitlines():
        if line.lstrip().startswith(">"):
            continue
        for match in _VERDICT.finditer(line):
            around = line[max(0, match.start() - 1) : match.start()], line[match.end() : match.end() + 1]
            if not (around[0] and around[0] in _QUOTES and around[1] and around[1] in _QUOTES):
                stated = match[1].lower()
    return _WON[stated] if stated else ()


def _plain(text: str) -> str:
    """Return a text without the marks of bold and code."""
    return text.replace("*", "").replace("`", "")


def _in_range(*numbers: str) -> tuple[float, ...]:
    """Return scores, or nothing if one of them is not from 1 to 10."""
    values = tuple(map(float, numbers))
    return values if all(LOWEST <= value <= HIGHEST for value in values) else ()


READERS: dict[str, Callable[[str], tuple[float, ...]]] = {
    "first-line": _read_first_line,
    "last-scores": _read_last_scores,
    "rating": _read_rating,
    "verdict": _read_verdict,
}
