"""Words of a text, as contamination and near duplicates compare them: without case, punctuation and white space.

A word is a run of the characters that `\\w` matches. Both checks split the same texts of a row one after another, so
the last few texts are remembered.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

__all__ = ["rare_characters", "split_words"]

_WORD = re.compile(r"\w")
_ASCII = bytes(range(128))
_BLANKS = bytes(code if code > 127 or _WORD.match(chr(code)) else 32 for code in range(256))


@functools.lru_cache(maxsize=64)
def split_words(text: str) -> Sequence[bytes]:
    """Return the words of a text in lower case, as UTF-8."""
    folded = text.casefold()
    encoded = folded.encode(errors="surrogatepass")
    for character in rare_characters(folded):
        if not _WORD.match(character):
            encoded = encoded.replace(character.encode(errors="surrogatepass"), b" ")
    return encoded.translate(_BLANKS).split()


def rare_characters(text: str) -> set[str]:
    """Return the characters of a text that are not ASCII.

    Most texts have few or none, so replacing each of them takes less time than a search for all of them.
    """
    if text.isascii():
        return set()
    return {*text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")}
