"""The checker `number`: answers that are a quantity, a date or a time.

The answer is the quantity that the last statement names; without a statement, the one in the last concluding sentence
or in the last line. Of an equation it is the part after the last "=". A statement of two different quantities is
ambiguous, unless it begins with one and only compares it with the other: "8 out of 10".

The value of an answer is written as a bare number if the reference is one: "$18.00", "18 dollars" and "eighteen" are
all "18". The unit and the percent sign are dropped then, since the question names them, but a percentage keeps its
meaning beside a reference between 0 and 1.
"""

from __future__ import annotations

import re
from fractions import Fraction

from orcac.checkers.characters import fold
from orcac.checkers.checker import AMBIGUOUS, UNPARSED, Checker, Extraction, Item, found
from orcac.checkers.number import moment, quantity
from orcac.checkers.number.quantity import Place, Quantity
from orcac.checkers.number.words import in_digits
from orcac.checkers.plain import plain
from orcac.checkers.statements import CONCLUDES, answer_in, find_statements, sentence_ends
from orcac.checkers.visible import visible

_LEAD = re.compile(
    r"(?:[\s*_`\"'$(\[=:≈~]|\b(?:approximately|about|around|roughly|exactly|only|just|nearly|almost|a\stotal\sof|equal\sto"
    r"|that|there\s(?:are|is|were|was))\b){0,8}",
    re.IGNORECASE,
)
_JOINS = re.compile(r"\s?(?:,|/|\bor\b|\band\b|\bto\b|-|,\sor)\s?(?:[$€£]|about\s)?", re.IGNORECASE)
_HALF_OF_A_LIST = re.compile(r"\d(?:st|nd|rd|th)?\s?(?:,|/|or|and|to|-|,\sor)\s?(?:the\s)?$")
_NOUN_AND = re.compile(r"\s?(?:[\w-]{1,30}\s){1,3}(?:and|or|plus)\s", re.IGNORECASE)  # "5 apples and 3 pears"
_DEFINES = re.compile(r"(?<![\w\\])([a-zA-Z])\s?=")
_OPERATES = re.compile(r"\s?(?:[+*/×·÷^x]|-)\s?$")
_DENIES = re.compile(r"\b(?:not|never|cannot)\b|n't\b", re.IGNORECASE)
_NUMBERING = re.compile(r"(?:^|\n)[ >*_#-]{0,6}(?:\(?\d{1,3}[.)]\s+(?=\D)|step\s\d{1,3}\s?[:.)-])", re.IGNORECASE)
_NO_NUMBER = re.compile(r"\b(?:the|this|that|which|no|any|every|some|each|another|last|only)\sones?\b", re.IGNORECASE)
_LONGEST = 2_000  # characters of a statement that are looked at


def read(response: str, item: Item) -> Extraction:
    """Return the quantity, date or time that a response states.

    A date such as 05/07/2021 has two readings. It is unparsed, unless the query or the reference has a date with
    slashes, whose order it shares.
    """
    extraction = _read(response, item)
    if moment.has_two_readings(extraction.value) and not moment.has_slashes(f"{item.query}\n{item.reference}"):
        return AMBIGUOUS
    return extraction


def _read(response: str, item: Item) -> Extraction:
    reference = fold(answer_in(item.reference))
    text = visible(fold(response), item.query)
    wants_moment = moment.parse(reference) is not None
    take = _read_moment if wants_moment else _read_quantity
    whole = take(text, reference) if len(text) < 200 and "\n" not in text else None
    if whole is not None and whole.outcome == "read" and (wants_moment or quantity.parse(text) is not None):
        return whole
    for statement in reversed(find_statements(text)):
        extraction = take(text[statement.start : min(statement.end, statement.start + _LONGEST)], reference)
        if extraction is not None:
            return extraction
    ends = sentence_ends(text)
    sentences = [text[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]
    sentences = [sentence for sentence in sentences if sentence.strip()]
    concluding = [sentence for sentence in sentences if CONCLUDES.match(sentence.lstrip())]
    for sentence in (*concluding[-1:], *sentences[-1:]):
        extraction = take(sentence[-_LONGEST:], reference)
        if extraction is not None:
            return extraction
    return UNPARSED


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two texts are equal quantities or equal moments."""
    first, second = fold(value), fold(other)
    moments = moment.parse(first), moment.parse(second)
    if moments[0] is not None or moments[1] is not None:
        return moments[0] == moments[1]
    quantities = quantity.parse(first), quantity.parse(second)
    if quantities[0] is None or quantities[1] is None:
        return False
    return quantity.equal(quantities[0], quantities[1])


def score(value: str, item: Item) -> float:
    """Return 1 for a value equal to the reference, else 0."""
    return float(same(value, answer_in(item.reference), item))


CHECKER = Checker(name="number", read=read, same=same, score=score)


def is_number(text: str) -> bool:
    """Return whether a text is a quantity with at most one noun, in lower case ("12 apples"), a date or a time."""
    folded = fold(text)
    if moment.parse(folded) is not None:
        return True
    parsed = quantity.parse(folded)
    return parsed is not None and (not parsed.noun or (len(parsed.noun) == 1 and folded == folded.lower()))


def _read_moment(text: str, reference: str) -> Extraction | None:
    places = list(moment.find(text))
    if not places:
        return None
    if len({place.moment for place in places}) > 1:
        whole = moment.parse(text)
        lead = _LEAD.match(text)
        opens = lead is not None and places[0].start <= lead.end()
        if whole is not None:
            return found(text.strip(" *_`\"'."))
        if not opens or _JOINS.fullmatch(text, places[0].end, places[1].start):
            return AMBIGUOUS
    if _DENIES.search(text, 0, places[0].start):
        return None
    if _HALF_OF_A_LIST.search(text, max(0, places[0].start - 12), places[0].start):  # "10 or 11 June"
        return AMBIGUOUS
    return found(text[places[0].start : places[0].end].strip())


def _read_quantity(text: str, reference: str) -> Extraction | None:
    """Return the quantity that a sentence names, `AMBIGUOUS` if two, None if none."""
    text = _NO_NUMBER.sub("that", _NUMBERING.sub("\n", text))
    if len(set(_DEFINES.findall(text))) > 1:  # "x = 3 and y = 4"
        return AMBIGUOUS
    equated = re.split(r"[=≈]", text)
    if len(equated) > 1:
        text = next((part for part in reversed(equated) if re.search(r"\d|\\frac", part)), text)
    if (whole := quantity.parse(text)) is not None:
        return found(_spell(whole, reference, plain(text)))
    text = plain(text)
    text = text if re.search(r"\d", text) else in_digits(text)
    places = _merge(text, list(quantity.find(text)))
    if not places or _DENIES.search(text, 0, places[0].start):
        return None
    first = places[0]
    lead = _LEAD.match(text)
    several = any(not quantity.equal(first.quantity, place.quantity) for place in places[1:])
    if several and (lead is None or first.start > lead.end() or _continues(text, first, places[1])):
        return AMBIGUOUS
    return found(_spell(first.quantity, reference, text[first.start : first.end]))


def _merge(text: str, places: list[Place]) -> list[Place]:
    """Join the parts of compounds: "3 hours and 20 minutes"."""
    merged: list[Place] = []
    for place in places:
        before = merged[-1] if merged else None
        if before and before.quantity.units and place.quantity.units and place.start - before.end <= 6:
            whole = quantity.parse(text[before.start : place.end])
            if whole is not None and not whole.noun:
                merged[-1] = Place(before.start, place.end, whole)
                continue
        merged.append(place)
    return merged


def _continues(text: str, first: Place, second: Place) -> bool:
    """Return whether a second number belongs to a list or a calculation with the first one."""
    between = text[first.end : second.start]
    joins = _JOINS.fullmatch(between) or _NOUN_AND.fullmatch(between) or _OPERATES.fullmatch(between)
    return bool(joins) or between.strip() == ""


def _spell(value: Quantity, reference: str, stated: str) -> str:
    """Return a quantity as a bare number, or as stated if the reference has a unit or a noun."""
    expected = quantity.parse(reference)
    if expected is not None and not expected.is_bare:
        return stated.strip(" *_`\"'.,")
    is_share = expected is not None and 0 < abs(expected.value) < 1
    return _decimal(value.amount if is_share else value.value)


def _decimal(value: Fraction) -> str:
    """Return a fraction as a decimal if that ends, else as "1/3"."""
    scale, denominator = 0, value.denominator
    while scale < 400 and denominator != 1 and 10**scale % denominator:
        scale += 1
    if 10**scale % denominator:
        return str(value)
    digits = str(abs(value.numerator) * (10**scale // denominator)).rjust(scale + 1, "0")
    number = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{number}" if value < 0 else number
