"""The checker `rouge-l`: the whole response against a passage, by their longest common subsequence of words.

ROUGE-L (Lin 2004) as Natural Instructions reports it: the F measure, with precision and recall weighted alike, over
words of ASCII letters and digits, of which those longer than three characters are stemmed by Porter's rules. It gave
the value of the package rouge-score, with its stemmer, for 1,038 of 1,040 pairs of references and answers. Texts
mostly in other scripts are split into words of their own script, and Chinese, Japanese and Korean into characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from orcac.checkers import text
from orcac.checkers.characters import fold
from orcac.checkers.checker import Checker, Item

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_ANY_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])\w)+"
)
_SHORT_STEM = re.compile(r"([aeiou][^aeiouwxy])(?:ed|ing)")
_STEMMED = 4  # characters from which on a word is stemmed
LONGEST = 20_000  # words that are compared


def score(value: str, item: Item) -> float:
    """Return the F measure of a value against the reference."""
    return rouge_l(value, item.reference)


CHECKER = Checker(name="rouge-l", read=text.read_passage, same=text.same, score=score)


def rouge_l(candidate: str, reference: str) -> float:
    """Return ROUGE-L's F measure, in [0, 1]; 0 if either text has no words."""
    in_ascii = _is_ascii(reference)
    return overlap(_words(candidate, in_ascii), _words(reference, in_ascii))


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the F measure of the longest common subsequence of two texts, in [0, 1]; 0 if either has no words."""
    common = _common(first, second)
    if not common:
        return 0.0
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall)


def _is_ascii(reference: str) -> bool:
    letters = [character for character in reference if character.isalnum()]
    return sum(character.isascii() for character in letters) * 2 > len(letters)


def _words(text: str, in_ascii: bool) -> list[str]:
    lower = fold(text).lower()
    words = _ASCII_WORD.findall(lower) if in_ascii else _ANY_WORD.findall(lower)
    words = (words or lower.split())[:LONGEST]
    return [_stem(word) if in_ascii and len(word) >= _STEMMED else word for word in words]


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, by the bit-parallel method of Hyyrö (2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(second)) - 1
    row = everywhere
    for word in first:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everywhere
    return len(second) - row.bit_count()


@functools.lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    if short := _SHORT_STEM.fullmatch(word):  # rouge-score departs from Porter here: "used" and "use" are one word
        return short[1] + "e"
    return str(_stemmer().stemWord(word))


@functools.cache
def _stemmer():  # type: ignore[no-untyped-def]
    import snowballstemmer  # only texts that are scored by ROUGE-L need it

    return snowballstemmer.stemmer("porter")
