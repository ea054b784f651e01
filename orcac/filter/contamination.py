"""Whether a query overlaps a benchmark's items, so that a student is not trained on what it is tested with.

A text is its words, without case and punctuation. A query is contaminated where it shares `ngram`
consecutive words with an item's query; one with fewer words must be equal to an item as a whole, since
short questions share their wording by chance. The rule is blind to sense: items of a fixed form ("The
following paragraphs each describe a set of ...") match every query of that form, and texts of signs alone
have no words and match nothing.

An index holds 8-byte digests of the n-grams, not the texts: some 100 bytes an n-gram.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

Index = frozenset[bytes]

_WORD = re.compile(r"\w+")


def ngram_digests(text: str, ngram: int) -> Index:
    """One for each run of `ngram` words; one for all the words where there are fewer; none where there are none."""
    words = _WORD.findall(text.casefold())
    runs = (" ".join(words[start : start + ngram]) for start in range(max(1, len(words) - ngram + 1)))
    return frozenset(hashlib.blake2b(run.encode(), digest_size=8).digest() for run in runs if run)


def index(queries: Iterable[str], ngram: int) -> Index:
    """What the items of a benchmark are known by."""
    return frozenset(digest for query in queries for digest in ngram_digests(query, ngram))
