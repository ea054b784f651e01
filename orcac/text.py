"""Text for a person: dollars, counts, sizes and durations, which every message, table and page words alike, and text
of unknown origin without control characters.

An exact figure (an amount that was paid) is given in full; an estimate is rounded to `digits` significant digits, since
more would claim a precision that it does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_DURATIONS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def clean(text: str) -> str:
    """Return text from a server or a file with spaces in place of control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def json_text(value: object) -> str:
    """Return a value as indented JSON in which every character that a terminal would obey is escaped.

    JSON itself escapes only those up to U+001F; U+009B, for one, begins a control sequence as well.
    """
    return escape_json(json.dumps(value, indent=1, ensure_ascii=False))


def escape_json(text: str) -> str:
    """Return JSON text with escapes in place of all characters that are not printable, but for its line ends."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def dollars(usd: float, digits: int | None = None) -> str:
    """Return an amount: `1,234.50 USD`, below one dollar `0.0042 USD`; an estimate of two digits: `5,100 USD`."""
    if digits is not None:
        return "< 0.01 USD" if 0 < usd < 0.01 else f"{_number(usd, digits)} USD"
    return f"{usd:,.2f} USD" if usd >= 1 or usd == 0 else f"{usd:.2g} USD"


def count(value: float, digits: int = 3) -> str:
    """Return a count: `5.09 M`, `17,038`."""
    return f"{value:,.0f}" if value < 1e5 and digits > 2 else _scaled(value, _COUNTS, digits)


def short_count(value: float) -> str:
    """Return a count in at most six characters: `5.09 M`, `17 k`, `2,546`."""
    return count(value) if value < 1e4 else _scaled(value, (*_COUNTS, (1e3, "k")), 3 if value >= 1e5 else 2)


def size(octets: float, digits: int = 2) -> str:
    """Return a number of bytes in decimal units: `52 GB`."""
    return _scaled(octets, _SIZES, digits) if octets >= 1000 else f"{octets:.0f} B"


def duration(seconds: float, digits: int = 2) -> str:
    """Return an estimated duration: `6.7 days`, `40 min`."""
    return _scaled(seconds, _DURATIONS, digits) if seconds >= 1 else ("0 s" if seconds == 0 else "< 1 s")


def hours(value: float) -> str:
    """Return an estimated number of hours: `3,200 h`."""
    return f"{_number(value, 2)} h"


def pace(per_second: float) -> str:
    """Return a measured rate: `22.1/s`; below one a second the time of each, `12 s each`."""
    if per_second >= 1:
        return f"{per_second:,.1f}/s"
    seconds = 1 / per_second
    return f"{seconds:,.0f} s each" if seconds >= 10 else f"{seconds:.1f} s each"


def clock(seconds: float) -> str:
    """Return a measured duration as a clock shows it: `0:25`, `12:07:00`."""
    minutes, second = divmod(round(seconds), 60)
    full_hours, minute = divmod(minutes, 60)
    return f"{full_hours}:{minute:02d}:{second:02d}" if full_hours else f"{minute}:{second:02d}"


def by_reason(counts: Mapping[str, int]) -> str:
    """Return counts as text, the most frequent first: "duplicate 12, contamination 3"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in ordered if number)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _number(value: float, digits: int) -> str:
    """Return `value` with `digits` significant digits, without decimals once it has that many: 5,100 of 5,148."""
    value = _rounded(value, digits)
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _scaled(value: float, scales: tuple[tuple[float, str], ...], digits: int) -> str:
    for scale, unit in scales:
        if _rounded(value, digits) >= scale:
            return f"{_number(value / scale, digits)} {unit}"
    return _number(value, digits)
