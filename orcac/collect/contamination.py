"""Contamination: overlap of a query, or of an answer, with a benchmark's items. A student must not be trained on them.

A query is contaminated if it shares `ngram` consecutive words with an item's query; case and punctuation do not matter.
A query of fewer words must equal an item as a whole, and then punctuation inside the text does matter: short questions
share their wording by chance, and "( True ) and not False" differs from "True and not ( False )".

An answer is contaminated if its reasoning and text share `ngram` consecutive words with an item's query; shorter
answers never are.

The rule is blind to sense. Items of a fixed form ("The following paragraphs each describe a set of ...") match every
query of that form, so the rule is too strict for generated puzzles of a benchmark's own tasks. It finds no paraphrases.

An index has numbers of 64 bits instead of texts: some 50 MB for the items of BIG-Bench Hard and AGIEval. They are
Python's hashes, which are several times faster than digests and hold for one process alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from orcac import rows

Index = frozenset[int]

_WORD = re.compile(r"\w+")
_BLANKS = {code: " " for code in range(128) if not _WORD.match(chr(code))}  # as `_WORD`, and faster
_OUTER = " .,;:!?\"'“”‘’"  # ignored at both ends of a short text


def ngram_digests(text: str, ngram: int) -> Index:
    """Return a number for each run of `ngram` words, or for the whole text if it has fewer; none for an empty text."""
    if runs := answer_digests(text, ngram):
        return runs
    whole = " ".join(text.casefold().split()).strip(_OUTER)
    return frozenset([hash(whole)] if whole else [])


def build_index(queries: Iterable[str], ngram: int) -> Index:
    """Return the numbers of the queries of a benchmark's items."""
    return frozenset(digest for query in queries for digest in ngram_digests(query, ngram))


def index_benchmarks(folders: Sequence[Path], ngram: int) -> dict[str, Index]:
    """Return the index of each benchmark by its name; `folders` are artifacts of `sample`."""
    indexes: dict[str, Index] = {}
    for folder in folders:
        items = list(rows.read(folder / "prompts.parquet", rows.Prompt))
        name = items[0].source
        indexes[name] = indexes.get(name, frozenset()) | build_index((item.query for item in items), ngram)
    return indexes


def answer_digests(text: str, ngram: int) -> Index:
    """Return a number for each run of `ngram` words of an answer; none for a shorter one, which is equal by chance."""
    folded = text.casefold()
    words = folded.translate(_BLANKS).split() if folded.isascii() else _WORD.findall(folded)
    return frozenset(map(hash, zip(*(words[start:] for start in range(ngram)), strict=False)))
