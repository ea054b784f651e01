"""Whether a query overlaps a benchmark's items, so that a student is not trained on what it is tested with.

A query is contaminated where it shares `ngram` consecutive words with an item's query; case and punctuation do not
matter. A query of fewer words must be equal to an item as a whole, and there signs inside the text do matter: short
questions share their wording by chance, and "( True ) and not False" is another than "True and not ( False )".

The rule is blind to sense. Items of a fixed form ("The following paragraphs each describe a set of ...") match every
query of that form, so it is too strict for generated puzzles of a benchmark's own tasks; and it knows no paraphrase.

An index holds 8-byte digests, not texts: some 50 MB for the items of BIG-Bench Hard and AGIEval.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

Index = frozenset[bytes]

_WORD = re.compile(r"\w+")
_OUTER = " .,;:!?\"'“”‘’"  # no difference at either end of a short text


def ngram_digests(text: str, ngram: int) -> Index:
    """One for each run of `ngram` words; where there are fewer words, one for the whole text; none for no text."""
    return frozenset(hashlib.blake2b(run.encode(), digest_size=8).digest() for run in _runs(text, ngram) if run)


def index(queries: Iterable[str], ngram: int) -> Index:
    """What the items of a benchmark are known by."""
    return frozenset(digest for query in queries for digest in ngram_digests(query, ngram))


def _runs(text: str, ngram: int) -> Iterator[str]:
    folded = text.casefold()
    words = _WORD.findall(folded)
    if len(words) < ngram:
        yield " ".join(folded.split()).strip(_OUTER)
    for start in range(len(words) - ngram + 1):
        yield " ".join(words[start : start + ngram])
