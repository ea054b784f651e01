"""Numbers as answers: "1,200", "$1200", "1200 apples" and "3 * 400 = 1200" are all 1200."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"([-+−]?)\s*[$€£]?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")
_UNIT = re.compile(r"\s*%|\s+\D*|")


def is_number(text: str) -> bool:
    """Return whether the text is one number and nothing else, not even a unit."""
    return _NUMBER.fullmatch(text.strip()) is not None


def same_number(parsed: str, reference: str) -> bool:
    """Return whether `parsed`, or its part after the last "=", has the value of `reference`, which is a number."""
    return _value(parsed.rpartition("=")[2]) == _value(reference)


def _value(text: str) -> Decimal | None:
    """Return the value of a number with or without a unit; None if the text is anything else."""
    text = text.strip().rstrip(".")
    match = _NUMBER.match(text)
    if match is None or not _UNIT.fullmatch(text, match.end()):
        return None
    value = Decimal(match[2].replace(",", ""))
    return -value if match[1] in ("-", "−") else value
