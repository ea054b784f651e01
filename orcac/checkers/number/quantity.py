"""Quantities: numbers with their sign, currency, unit, percent sign or noun.

A number is written with thousands separators (1,200; 1 200; 1.200,50), as a decimal, a fraction, a mixed number, in
scientific notation, in words or with a magnitude (1.5 million). Values are exact fractions, never floats.

Two quantities are equal if their values are, after conversion to one unit. A bare number equals the same number with
any unit, since the question names the unit; but 10 % is 1/10 and not 10. Nouns that differ make a difference (5 cats,
5 dogs), unless one has all words of the other (8 pens, 8 pens left). A fraction whose decimals never end equals its
value rounded to three or more of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from orcac.checkers.number.units import NAMES, Unit, units_named
from orcac.checkers.number.words import in_digits, ordinal
from orcac.checkers.plain import plain

_GROUPED = r"\d{1,3}(?:,\d{3}){1,30}(?!\d)|\d{1,3}(?:,\d{2}){1,30},\d{3}(?!\d)|\d{1,100}"
_CURRENCY = r"US\$|[$€£¥₹₩]|(?:USD|EUR|GBP|JPY|INR|CNY|KRW|Rs\.?)(?=\s?[\d.-])"
_NUMBER = re.compile(
    rf"""(?<![\w.^])(?<!\d[,/:])
    (?P<minus>(?<![\d)%])(?<![\d)%]\s)[-+]\s?|(?:minus|negative)\s)?
    (?P<currency>{_CURRENCY})?\s?
    (?P<minus2>-)?
    (?: (?P<whole>\d{{1,20}})\s(?P<top>\d{{1,9}})/(?P<bottom>\d{{1,9}})(?![\d/])
      | (?P<numerator>(?:{_GROUPED})(?:\.\d{{1,100}})?)\s?/\s?
        (?P<denominator>(?:{_GROUPED})(?:\.\d{{1,100}})?)(?!\s?[\d/.]|\w)
      | (?P<number>(?:{_GROUPED})(?:\.(?P<decimals>\d{{1,100}}))?|\.(?P<decimals2>\d{{1,100}}))
        (?: [eE](?P<exponent>[-+]?\d{{1,3}})(?!\w)
          | \s?[x×*·]\s?10\s?(?:\^|\*\*)\s?\(?(?P<power>[-+]?\d{{1,3}})(?!\d)\)?
          | (?P<ten>(?<=10)(?:\^|\*\*)\(?(?P<power2>[-+]?\d{{1,3}})(?!\d)\)?) )?
    )
    (?!\d)(?![.:/]\d)(?:st|nd|rd|th)?
    (?: (?P<magnitude>\s?(?:hundred|thousand|million|billion|trillion|dozen|mn|bn)\b|[kK]\b|(?<=[\d])[MB]\b(?!/)) )?""",
    re.VERBOSE,
)
_MAGNITUDES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "k": 10**3, "m": 10**6, "b": 10**9, "mn": 10**6, "bn": 10**9,
}  # fmt: skip
_PERCENT = re.compile(r"\s?(?:%|percent\b|per\scent\b|pct\b)(?:\spoints?\b)?", re.IGNORECASE)
_UNIT = re.compile(
    rf"(?P<join>\s|-)?(?P<name>{'|'.join(re.escape(name) for name in NAMES)})(?![\w/^])\.?(?!\d)", re.IGNORECASE
)
_HEDGE = re.compile(
    r"(?:(?:approximately|about|around|roughly|exactly|nearly|almost|only|just|some|a\stotal\sof|a|an|the|=|≈|~|x\s=)\s?)+",
    re.IGNORECASE,
)
_NOUN = re.compile(r"\s?(?P<noun>(?:[^\W\d_][\w'/^-]+)(?:\s[^\W\d_][\w'/^-]*){0,5})")
_IGNORED = {"of", "the", "a", "an", "in", "total", "left", "altogether", "more", "each", "per", "all"}
_SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?:[ '_]\d{3})+(?![\d])(?=\D|$)")
_EUROPEAN = re.compile(r"(?<![\d.,])(?P<whole>\d{1,3}(?:\.\d{3})+),(?P<part>\d{1,20})(?![\d.,])")
_DOTTED = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,20}(?![\d.,])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(?P<whole>\d{1,20}),(?P<part>\d{1,2}|\d{4,20})(?![\d.,])")
_HOURS = re.compile(r"(\d{1,4})\s?h\s?(\d{1,2})(?:\s?m(?:in)?)?\b")
_RATIO = re.compile(r"(\d{1,9})\s?:\s?(\d|\d{3,9})")  # two digits after the colon make a time
_FEET = re.compile(r"(\d{1,4})'\s?(\d{1,2})(?:\"|''|$)")
_LARGEST_POWER = 250  # of ten, in a number that is read
_LONGEST = 600  # characters of a text that may be one quantity


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written, and the meanings of its unit (several for "pounds"); () if it has none."""

    value: Fraction
    units: tuple[Unit, ...] = ()
    percent: bool = False
    noun: frozenset[str] = frozenset()
    places: int | None = None  # decimals, if it is written with a point

    @property
    def is_bare(self) -> bool:
        return not self.units and not self.percent and not self.noun

    @property
    def amount(self) -> Fraction:
        """The value, of a percentage its hundredth."""
        return self.value / 100 if self.percent else self.value


class Place(NamedTuple):
    """A quantity in a text: `text[start:end]`."""

    start: int
    end: int
    quantity: Quantity


def parse(text: str) -> Quantity | None:
    """Return the quantity that a whole text is, e.g. "$1,200.50", "3 1/2 hours", "eight apples"; else None."""
    return _parse(text) if len(text) <= _LONGEST else None


@functools.lru_cache(maxsize=1024)  # a reference and the value of an answer are parsed several times
def _parse(text: str) -> Quantity | None:
    text = plain(text)
    if (place := ordinal(text)) is not None:
        return Quantity(Fraction(place))
    text = in_digits(text).strip()
    text = re.sub(r"(?<=[\w%°])[.,;]+$|(?<=[a-z])!+$", "", text.rpartition("=")[2].strip())
    text = text.removeprefix("(").removesuffix(")") if re.fullmatch(r"\([^()]*\)", text) else text
    text = _one_style(text)
    if ratio := _RATIO.fullmatch(text):
        return Quantity(Fraction(int(ratio[1]), int(ratio[2]))) if int(ratio[2]) else None
    hedge = _HEDGE.match(text)
    start = hedge.end() if hedge else 0
    found: list[Quantity] = []
    while start < len(text):
        match = _NUMBER.match(text, start)
        if match is None or (value := _value(match)) is None:
            return None
        end, quantity = _with_unit(text, match, value)
        found.append(quantity)
        rest = text[end:].strip()
        if not rest:
            return _sum(found)
        if quantity.is_bare or quantity.percent:
            noun = _NOUN.fullmatch(text, end)
            if noun is None or len(found) > 1 or quantity.noun:
                return None
            return Quantity(value, percent=quantity.percent, noun=_words(noun["noun"]), places=quantity.places)
        joint = re.compile(r"\s?(?:,|and|,\s?and)?\s?(?=\d)").match(text, end)
        if joint is None:
            noun = _NOUN.fullmatch(text, end)
            return _sum(found) if noun and quantity.units and not _words(noun["noun"]) - _FOLLOWS else None
        start = joint.end()
    return None


def find(text: str) -> Iterator[Place]:
    """Yield the quantities in a sentence, without nouns; numbers in words must be in digits already."""
    for match in _NUMBER.finditer(text):
        if (value := _value(match)) is not None:
            end, quantity = _with_unit(text, match, value)
            yield Place(match.start() + len(match[0]) - len(match[0].lstrip()), end, quantity)


def equal(first: Quantity, second: Quantity) -> bool:
    """Return whether two quantities are equal, by the rules above."""
    if first.noun and second.noun and not (first.noun <= second.noun or second.noun <= first.noun):
        return False
    if (first.units and second.noun) or (first.noun and second.units):
        return False
    if first.units and second.units:
        return any(
            one.dimension == other.dimension and _close(first, second, one, other)
            for one in first.units
            for other in second.units
        )
    if (first.percent and second.units) or (first.units and second.percent):
        return False
    return _close(first, second, None, None)


def _close(first: Quantity, second: Quantity, one: Unit | None, other: Unit | None) -> bool:
    a, b = _convert(first, one), _convert(second, other)
    if a == b:
        return True
    for exact, rounded, value, approximate in ((first, second, a, b), (second, first, b, a)):
        places = None if rounded.places is None else rounded.places + 2 * rounded.percent
        if places is not None and places >= 3 and exact.places is None and not _ends(value) and one == other:
            return abs(value - approximate) <= Fraction(1, 2 * 10**places)
    return False


def _convert(quantity: Quantity, unit: Unit | None) -> Fraction:
    return quantity.amount * unit.factor + unit.offset if unit else quantity.amount


def _ends(value: Fraction) -> bool:
    """Return whether the decimals of a fraction end."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _value(match: re.Match[str]) -> Fraction | None:
    def number(text: str) -> Fraction:
        return Fraction(text.replace(",", ""))

    if match["whole"]:
        if int(match["bottom"]) == 0:
            return None
        value = number(match["whole"]) + Fraction(int(match["top"]), int(match["bottom"]))
    elif match["numerator"]:
        below = number(match["denominator"])
        if below == 0:
            return None
        value = number(match["numerator"]) / below
    else:
        power = int(match["exponent"] or match["power"] or (match["power2"] and int(match["power2"]) - 1) or 0)
        if abs(power) > _LARGEST_POWER:
            return None
        value = number(match["number"]) * Fraction(10) ** power
    if match["magnitude"]:
        value *= _MAGNITUDES[match["magnitude"].strip().casefold()]
    signs = (match["minus"] or "").strip() in ("-", "minus", "negative"), bool(match["minus2"])
    return -value if signs[0] != signs[1] else value


def _with_unit(text: str, match: re.Match[str], value: Fraction) -> tuple[int, Quantity]:
    """Return a number with its percent sign, unit or currency, and where that ends."""
    decimals = match["decimals"] or match["decimals2"]
    plain_decimal = decimals and not (match["exponent"] or match["power"] or match["magnitude"])
    places = len(decimals) if decimals and plain_decimal else None
    end = match.end()
    if percent := _PERCENT.match(text, end):
        return percent.end(), Quantity(value, percent=True, places=places)
    unit = _UNIT.match(text, end)
    units = units_named(unit["name"]) if unit else ()
    if match["currency"]:
        money = units_named(match["currency"].rstrip("."))
        if units and {one.dimension for one in units} & {one.dimension for one in money}:
            return unit.end() if unit else end, Quantity(value, units=money, places=places)
        return end, Quantity(value, units=money, places=places)
    if (
        unit
        and units
        and not (unit["name"] in ("in", "a", "A", "s", "to") and unit["join"] == " " and unit.end() < len(text))
    ):
        return unit.end(), Quantity(value, units=units, places=places)
    return end, Quantity(value, places=places)


_FOLLOWS = frozenset(
    {"old", "long", "tall", "high", "wide", "deep", "away", "apart", "ago", "later", "earlier", "time"}
)


def _sum(found: list[Quantity]) -> Quantity | None:
    """Return the sum of the parts of a compound such as "1 hour 30 minutes", in the unit of its first part."""
    first = found[0]
    if len(found) == 1:
        return first
    for unit in first.units:
        total, last = Fraction(0), None
        for part in found:
            same = [one for one in part.units if one.dimension == unit.dimension and one.offset == 0]
            if not same or (last is not None and same[0].factor >= last):
                break
            total, last = total + part.value * same[0].factor, same[0].factor
        else:
            return Quantity(total / unit.factor, units=(unit,))
    return None


def _words(noun: str) -> frozenset[str]:
    words = (word.casefold() for word in noun.split())
    return frozenset(_singular(word) for word in words if word not in _IGNORED)


def _singular(word: str) -> str:
    for ending, single in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1 and not word.endswith(("ss", "us", "is")):
            return word[: -len(ending)] + single
    return {"people": "person", "children": "child", "men": "man", "women": "woman", "feet": "foot"}.get(word, word)


def _one_style(text: str) -> str:
    """Rewrite the thousands separators and the decimal comma of a whole value in the English style."""
    text = _FEET.sub(r"\1 ft \2 in", text)
    text = _HOURS.sub(r"\1 h \2 min", text)
    text = _SPACED.sub(lambda match: re.sub(r"[ '_]", "", match[0]), text)
    text = _EUROPEAN.sub(lambda match: f"{match['whole'].replace('.', '')}.{match['part']}", text)
    text = _DOTTED.sub(lambda match: match[0].replace(".", ""), text)
    return _DECIMAL_COMMA.sub(r"\g<whole>.\g<part>", text)
