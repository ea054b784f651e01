"""Characters: one spelling for those that differ in width, script of digits, direction or typography only.

"Ｂ", "Ⓑ" and "𝐁" become "B", "١٢" becomes "12", curly quotes become straight ones, and marks that only steer the
layout of right-to-left text are removed. Superscripts and fractions keep their meaning: "x²" stays, and "½" stays.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

from orcac.words import rare_characters

_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼ′´＇", "'"),
        **dict.fromkeys("“”„‟«»″＂「」『』", '"'),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        **dict.fromkeys("，、،", ","),
        **dict.fromkeys("。．｡۔", "."),
        **dict.fromkeys("；؛", ";"),
        **dict.fromkeys("？؟", "?"),
        **dict.fromkeys("【［", "["),
        **dict.fromkeys("】］", "]"),
        **dict.fromkeys("⇒➔➜➡⟶⟹", "→"),
        "٪": "%",
        "٫": ".",
        "٬": ",",
        "⁄": "/",
        "∕": "/",
    }
)
_SAME_BUT_FOR_LOOKS = ("<wide>", "<narrow>", "<circle>", "<square>", "<font>", "<compat>", "<noBreak>")
_LETTER_SIGN = re.compile(r"(?:NEGATIVE )?(?:CIRCLED|SQUARED|REGIONAL INDICATOR SYMBOL)(?: LATIN)?.* LETTER ([A-Z])")
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_BLANKS = re.compile(r"[^\S\n\r\v\f\x85\u2028\u2029]+")
_LINE_ENDS = re.compile(r" ?(?:\r\n?|[\n\v\f\x85\u2028\u2029]) ?")
# what the two patterns above change in a text whose other blanks are folded already
_UNEVEN = ("  ", " \n", "\n ", *"\t\r\v\f\x1c\x1d\x1e\x1f", *"\x85\u2028\u2029")
_DOTS = ("ı", "İ")  # a pattern that ignores case takes them for an "i"


class _Folding(dict[int, str]):
    """The table of `str.translate`, filled with each character that is met."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_character(chr(code))
        return folded


@functools.lru_cache(maxsize=64)  # an item's query, options and reference are folded for each comparison
def fold(text: str) -> str:
    """Return the text in the plainest characters with the same meaning, with one blank for several."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        changed = {one: _TABLE[ord(one)] for one in rare_characters(text)}
        if all(plain.isascii() for one, plain in changed.items() if plain != one):
            for one, plain in changed.items():
                text = text.replace(one, plain)
        else:
            text = _BEYOND_ASCII.sub(lambda match: match[0].translate(_TABLE), text)
    if not any(sign in text for sign in _UNEVEN):
        return text
    return _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text))


def may_hold(lower: str, words: Iterable[str]) -> bool:
    """Return whether a text in lower case holds one of `words`, in ASCII, or may hold one for a pattern without case.

    This takes a hundredth of the time that a search for a pattern takes.
    """
    return any(word in lower for word in words) or any(dot in lower for dot in _DOTS)


def lowered(text: str) -> str:
    """Return the text in lower case and of the same length, so that positions in one are positions in the other."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(_ASCII_LOWER)


def _fold_character(character: str) -> str:
    if character.isascii() or character in "\x85\u2028\u2029":
        return character
    category = unicodedata.category(character)
    if category in ("Cf", "Me") or 0xFE00 <= ord(character) <= 0xFE0F:  # direction, joiners, enclosures, variants
        return ""
    if category == "Zs":
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if unicodedata.decomposition(character).startswith(_SAME_BUT_FOR_LOOKS):
        plain = unicodedata.normalize("NFKC", character)
        return plain.translate(_PUNCTUATION)
    if letter := _LETTER_SIGN.fullmatch(unicodedata.name(character, "")):
        return letter[1]
    return character.translate(_PUNCTUATION)


_TABLE = _Folding()
