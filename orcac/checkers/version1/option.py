"""Options as answers: the places in a text that name an option of an item.

A letter is read as (A), A, A) or A.; the article "A" and the pronoun "I" are not letters. A word must be whole, in any
case: "invalid" does not contain "valid".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

_BEFORE = r"(?<!\w)(?<!\w[-'’])(?<!\d[.,])"  # a word is whole
_AFTER = r"(?!\w|[-'’]\w|[.,]\d)"
_OPENS, _OPENS_NUMBER, _ENDS = (re.compile(part) for part in (_BEFORE, rf"{_BEFORE}(?<!-)", _AFTER))
_BLANKS = {ord(character): " " for character in map(chr, range(128)) if character.isspace()}
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
    """Return every place that names an option, in order and without overlaps.

    Of two that begin together, the longer option counts. A pattern of all options takes a millisecond to compile, so
    the places are looked up one option at a time where lower case has no exceptions.
    """
    if not options:
        return []
    if not text.isascii() or not all(map(str.isascii, options)):
        names = {f"o{index}": option for index, option in enumerate(options)}
        return [
            Mention(names[str(match.lastgroup)], match.start(), match.end())
            for match in _pattern(options).finditer(text)
        ]
    lower, last = text.lower().translate(_BLANKS), 0
    words = " ".join(lower.split()) if "  " in lower else lower
    found: list[Mention] = []
    order = sorted((option for option in options if option.strip()), key=len, reverse=True)
    named = [
        (rank, option)
        for rank, option in enumerate(order)
        if option_letter(option) or " ".join(option.lower().split()) in words
    ]
    places = [(start, rank, end) for rank, option in named for start, end in _find_places(text, lower, option)]
    for start, rank, end in sorted(places):
        if start >= last:
            found.append(Mention(order[rank], start, end))
            last = end
    return found


def _find_places(text: str, lower: str, option: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each place that names an option; they may overlap. All texts are ASCII."""
    letter = option_letter(option)
    if letter:
        pattern = _compile_letter(letter)
        for head in ("(", letter):
            for start in _find_all(head, text):
                if match := pattern.match(text, start):
                    yield start, match.end()
        return
    words = option.lower().split()
    parts = words if "  " in lower else [" ".join(words)]  # several blanks may part the words
    opens = _OPENS_NUMBER if words[0][0].isdigit() else _OPENS
    for start in _find_all(parts[0], lower):
        end = start + len(parts[0])
        for word in parts[1:]:
            blank = end
            while lower[end : end + 1] == " ":
                end += 1
            if end == blank or not lower.startswith(word, end):
                break
            end += len(word)
        else:
            if opens.match(text, start) and _ENDS.match(text, end):
                yield start, end


def _find_all(part: str, text: str) -> Iterator[int]:
    start = text.find(part)
    while start >= 0:
        yield start
        start = text.find(part, start + 1)


@functools.cache
def _compile_letter(letter: str) -> re.Pattern[str]:
    return re.compile(_option_pattern(letter))


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
        return rf"{_BEFORE}{sign}(?i:{words}){_AFTER}"
    a_word = r"(?![ \t]+(?!(?:and|as|because|for|is|or|since)\b)[a-z])" if letter in "AI" else ""
    return rf"\(\s*(?i:{letter})\s*\)|(?<![\w(])(?<!\w[-'’]){letter}(?!\w|[-'’]\w){a_word}\)?"
