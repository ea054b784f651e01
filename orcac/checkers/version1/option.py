"""Options as answers: the places in a text that name an option of an item.

A letter is read as (A), A, A) or A.; the article "A" and the pronoun "I" are not letters. A word must be whole, in any
case: "invalid" does not contain "valid".
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_LETTER = re.compile(r"\(?([A-Z])[).]?")


class Mention(NamedTuple):
    """A place that names an option: `text[start:end]`."""

    option: str
    start: int
    end: int


def option_letter(option: str) -> str:
    """Return the letter if the option is just a letter ("(A)", "A", "A)", "A."), or "" if it is in words."""
    match = _LETTER.fullmatch(option.strip())
    return match[1] if match else ""


def find_mentions(text: str, options: tuple[str, ...]) -> list[Mention]:
    """Return every place that names an option, in order and without overlaps."""
    if not options:
        return []
    names = {f"o{index}": option for index, option in enumerate(options)}
    return [
        Mention(names[str(match.lastgroup)], match.start(), match.end()) for match in _pattern(options).finditer(text)
    ]


@functools.lru_cache(maxsize=4096)
def _pattern(options: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern with one group per option: `o0`, `o1`, ...

    Longer options come first, so that an option which begins with another ("the red box", "the red") is found whole.
    """
    order = sorted(range(len(options)), key=lambda index: -len(options[index]))
    return re.compile("|".join(f"(?P<o{i}>{_option_pattern(options[i])})" for i in order if options[i].strip()))


def _option_pattern(option: str) -> str:
    letter = option_letter(option)
    if not letter:
        words = r"\s+".join(re.escape(word) for word in option.split())
        sign = r"(?<!-)" if option.strip()[0].isdigit() else ""
        return rf"(?<!\w)(?<!\w[-'’])(?<!\d[.,]){sign}(?i:{words})(?!\w|[-'’]\w|[.,]\d)"
    a_word = r"(?![ \t]+(?!(?:and|as|because|for|is|or|since)\b)[a-z])" if letter in "AI" else ""
    return rf"\(\s*(?i:{letter})\s*\)|(?<![\w(])(?<!\w[-'’]){letter}(?!\w|[-'’]\w){a_word}\)?"
