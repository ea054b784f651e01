"""Contamination: overlap of a query with a benchmark's items, on which a student must not be trained.

A query is contaminated if it shares `ngram` consecutive words with an item's query; case and punctuation do not matter.
A query of fewer words must equal an item as a whole, and then punctuation inside the text does matter: short questions
share their wording by chance, and "( True ) and not False" differs from "True and not ( False )".

The rule is blind to sense. Items of a fixed form ("The following paragraphs each describe a set of ...") match every
query of that form, so the rule is too strict for generated puzzles of a benchmark's own tasks. It finds no paraphrases.

An index has 8-byte digests instead of texts: some 50 MB for the items of BIG-Bench Hard and AGIEval.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

Index = frozenset[bytes]

_WORD = re.compile(r"\w+")
_OUTER = " .,;:!?\"'“”‘’"  # ignored at both ends of a short text


def ngram_digests(text: str, ngram: int) -> Index:
    """Return a digest of each run of `ngram` words, or of the whole text if it has fewer; none for an empty text."""
    return frozenset(hashlib.blake2b(run.encode(), digest_size=8).digest() for run in _runs(text, ngram) if run)


def build_index(queries: Iterable[str], ngram: int) -> Index:
    """Return the digests of the queries of a benchmark's items."""
    return frozenset(digest for query in queries for digest in ngram_digests(query, ngram))


def _runs(text: str, ngram: int) -> Iterator[str]:
    folded = text.casefold()
    words = _WORD.findall(folded)
    if len(words) < ngram:
        yield " ".join(folded.split()).strip(_OUTER)
    for start in range(len(words) - ngram + 1):
        yield " ".join(words[start : start + ngram])
