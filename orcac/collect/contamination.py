"""Contamination: overlap of a query, or of an answer, with a benchmark's items. A student must not be trained on them.

A query is contaminated if it shares `ngram` consecutive words with an item's query; case and punctuation do not matter.
A query of fewer words must equal an item as a whole, and then punctuation inside the text does matter: short questions
share their wording by chance, and "( True ) and not False" differs from "True and not ( False )".

An answer is contaminated if its reasoning and text share `ngram` consecutive words with an item's query; shorter
answers never are.

The rule is blind to sense. Items of a fixed form ("The following paragraphs each describe a set of ...") match every
query of that form, so the rule is too strict for generated puzzles of a benchmark's own tasks. It finds no paraphrases.

A run of n words that two texts share holds a run of (n + 1) / 2 words which begins, in the one text, at a multiple of
that length. So an index also has the runs of that length of the items, and of a text only those at the multiples are
looked up. The few texts that have one in common with an item are then compared by all their runs of n words.

An index has numbers of 64 bits instead of texts: some 100 MB for the items of BIG-Bench Hard and AGIEval. They are
Python's hashes, which are several times faster than digests and hold for one process alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orcac import rows

__all__ = ["Index", "find_overlaps", "index_benchmarks"]

_WORD = re.compile(r"\w")
_NO_WORD = re.compile(r"[^\w\x00-\x7f]")
_BLANKS = bytes(code if code > 127 or _WORD.match(chr(code)) else 32 for code in range(256))
_OUTER = " .,;:!?\"'“”‘’"  # ignored at both ends of a short text


class Index:
    """The queries of a benchmark's items, of which a text may share `ngram` consecutive words."""

    def __init__(self, queries: Iterable[str], ngram: int) -> None:
        self._part = (ngram + 1) // 2
        parts, runs, wholes = set[int](), set[int](), set[int]()
        for query in queries:
            words = _split(query)
            if len(words) < ngram:
                wholes.add(_hash_whole(query))
            parts.update(_hash_runs(words, self._part))
            runs.update(_hash_runs(words, ngram))
        self._ngram, self._parts, self._runs, self._wholes = ngram, parts, runs, wholes - {_hash_whole("")}

    def overlaps(self, words: Sequence[bytes]) -> bool:
        """Return whether a text of these words shares a run with an item."""
        some = iter(words)
        parts = map(hash, zip(*[some] * self._part, strict=False))  # one after another
        return not self._parts.isdisjoint(parts) and not self._runs.isdisjoint(_hash_runs(words, self._ngram))

    def has(self, text: str) -> bool:
        """Return whether a text of fewer words is an item as a whole."""
        return _hash_whole(text) in self._wholes


def find_overlaps(text: str, indexes: Mapping[str, Index], ngram: int, *, is_query: bool) -> list[str]:
    """Return the names of the benchmarks with an item that the text overlaps."""
    words = _split(text)
    if len(words) >= ngram:
        return [name for name, index in indexes.items() if index.overlaps(words)]
    return [name for name, index in indexes.items() if is_query and index.has(text)]


def index_benchmarks(folders: Sequence[Path], ngram: int) -> dict[str, Index]:
    """Return the index of each benchmark by its name; `folders` are artifacts of `sample`."""
    queries: dict[str, list[str]] = {}
    for folder in folders:
        for name, query in rows.read_columns(folder / "prompts.parquet", ("source", "query")):
            queries.setdefault(name, []).append(query)
    return {name: Index(some, ngram) for name, some in queries.items()}


def _split(text: str) -> list[bytes]:
    """Return the words of a text without case."""
    folded = text.casefold()
    if not folded.isascii():
        folded = _NO_WORD.sub(" ", folded)
    return folded.encode(errors="surrogatepass").translate(_BLANKS).split()


def _hash_runs(words: Sequence[bytes], length: int) -> Iterable[int]:
    return map(hash, zip(*(words[start:] for start in range(length)), strict=False))


def _hash_whole(text: str) -> int:
    return hash(" ".join(text.casefold().split()).strip(_OUTER))
