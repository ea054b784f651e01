"""Numbers in words: "twenty-one", "one hundred and five", "two and a half", "three quarters", "a dozen"."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = dict(
    zip(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ],
        range(20),
        strict=True,
    )
)
_TENS = dict(
    zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True)
)
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_ORDINALS = dict(
    zip(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        range(1, 13),
        strict=True,
    )
)
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4, "fifth": 5,
    "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10,
}  # fmt: skip
_NUMBER_WORD = rf"(?:{'|'.join([*_ONES, *_TENS])})\b"
_SCALE_WORD = r"(?:hundred|thousand|million|billion|trillion|dozen)\b"
_PART_WORD = rf"(?:{'|'.join(_PARTS)})\b"
_SEQUENCE = re.compile(
    rf"""(?<!\d\s)(?<!\d-)\b(?:a\s(?={_SCALE_WORD}|half\b))? (?:{_NUMBER_WORD}|{_SCALE_WORD}|half\b)
        (?: (?:\s|-|,\s)(?:and\s)? (?!(?:a|one|two|three)\s{_PART_WORD}) (?:{_NUMBER_WORD}|{_SCALE_WORD}) ){{0,12}}
        (?: \spoint (?:\s(?:{"|".join(list(_ONES)[:10])})\b){{1,8}} )?
        (?: \sand\s(?:a|one|(?P<parts>two|three))\s(?P<more>{_PART_WORD}) | (?:\s|-)(?P<part>{_PART_WORD}) )?""",
    re.IGNORECASE | re.VERBOSE,
)
_ONE_PART = re.compile(r"\ba\s(?=(?:third|quarter|fifth|sixth|eighth|tenth)$)", re.IGNORECASE)
_TENS_ORDINAL = re.compile(rf"({'|'.join(_TENS)})(?:[- ]({'|'.join(list(_ORDINALS)[:9])}))", re.IGNORECASE)
_PLAIN_WORD = re.compile(rf"\b(?:{_NUMBER_WORD}|{_SCALE_WORD}|half\b)", re.IGNORECASE)
_ORDINAL = re.compile(rf"\b(?:{'|'.join(_ORDINALS)})\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """Return the text with its number words in digits. "second" and its like stay: they are also words of time."""
    text = _ONE_PART.sub("one ", text)
    return _SEQUENCE.sub(_digits, text) if _PLAIN_WORD.search(text) else text


def ordinal(word: str) -> int | None:
    """Return 3 for "third" and "3rd", 23 for "twenty-third"; None for anything else."""
    if match := re.fullmatch(r"(?:the )?(\d{1,6})(?:st|nd|rd|th)", word, re.IGNORECASE):
        return int(match[1])
    word = re.sub(r"^the ", "", word.casefold())
    if match := _TENS_ORDINAL.fullmatch(word):
        return _TENS[match[1]] + _ORDINALS[match[2]]
    return _ORDINALS.get(word)


def _digits(match: re.Match[str]) -> str:
    words = match[0].casefold()
    words, _, decimals = words.partition(" point ")
    if match["more"]:
        words = words[: words.rindex(" and ")]
    whole = _whole([word for word in re.split(r"[\s,-]+", words) if word not in ("and", "a", match["part"])])
    if whole is None:
        return match[0]
    if decimals:
        return f"{whole}." + "".join(str(_ONES[word]) for word in decimals.split())
    value = Fraction(whole) if whole != Fraction(1, 2) else Fraction(1, 2)
    if match["part"]:
        value /= _PARTS[match["part"].casefold()]
    if match["more"]:
        parts = {"two": 2, "three": 3}.get((match["parts"] or "").casefold(), 1)
        value += Fraction(parts, _PARTS[match["more"].casefold()])
    return str(value)


def _whole(words: list[str]) -> Fraction | None:
    """Return the value of words such as [five, thousand, twenty, one]; None if they are not one number."""
    if words == ["half"]:
        return Fraction(1, 2)
    total = current = 0
    for word in words:
        if word in ("hundred", "dozen"):
            current = (current or 1) * _SCALES[word]
        elif word in _SCALES:
            total += (current or 1) * _SCALES[word]
            current = 0
        else:
            value = _ONES[word] if word in _ONES else _TENS.get(word, 0)
            room = 10 if value < 10 else 100
            if current % room and not (current % 10 == 0 and value < 10):
                if not (value >= 10 and 10 <= current <= 99 and len(words) <= 3):
                    return None
                current *= 100  # a year: nineteen eighty-four
            current += value
    return Fraction(total + current)
