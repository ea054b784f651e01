"""Text as an answer: a word, a phrase, or the letter of an option."""

from __future__ import annotations

import re


def same_text(parsed: str, reference: str) -> bool:
    """Return whether two texts are equal except for case, white space, a final full stop and a letter's brackets."""
    return _normalise(parsed) == _normalise(reference)


def _normalise(text: str) -> str:
    text = " ".join(text.split()).rstrip(".").casefold()
    letter = re.fullmatch(r"\(?([a-z])\)?", text)
    return letter[1] if letter else text
