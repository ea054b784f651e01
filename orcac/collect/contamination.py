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

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from orcac import rows
from orcac.words import split_words

__all__ = ["Benchmarks", "read_benchmarks"]

_OUTER = " .,;:!?\"'“”‘’"  # ignored at both ends of a short text


class Benchmarks:
    """The queries of benchmarks' items, by the benchmark's name. A text may share `ngram` consecutive words of one."""

    def __init__(self, queries: Mapping[str, Iterable[str]], ngram: int) -> None:
        self._ngram, self._part = ngram, (ngram + 1) // 2
        self._parts = set[int]()  # of all benchmarks together: few texts have one
        self._runs: dict[str, set[int]] = {}
        self._wholes: dict[str, set[int]] = {}
        for name, some in queries.items():
            runs, wholes = self._runs.setdefault(name, set()), self._wholes.setdefault(name, set())
            for query in some:
                words = split_words.__wrapped__(query)
                if len(words) < ngram:
                    wholes.add(_hash_whole(query))
                parts = self._hash_parts(words)
                self._parts.update(parts)
                runs.update(self._hash_runs(parts))
            wholes.discard(_hash_whole(""))

    @property
    def names(self) -> Sequence[str]:
        """The names of the benchmarks."""
        return [*self._runs]

    def find_overlaps(self, *texts: str, is_query: bool) -> list[str]:
        """Return the names of the benchmarks with an item that a text overlaps, given as one string or several."""
        words = split_words(texts[0]) if len(texts) == 1 else [*chain.from_iterable(map(split_words, texts))]
        if len(words) < self._ngram:
            whole = _hash_whole(" ".join(texts)) if is_query else 0
            return [name for name, wholes in self._wholes.items() if is_query and whole in wholes]
        some = iter(words)
        if self._parts.isdisjoint(map(hash, zip(*[some] * self._part, strict=False))):  # one part after another
            return []
        found = [*self._hash_runs(self._hash_parts(words))]
        return [name for name, runs in self._runs.items() if not runs.isdisjoint(found)]

    def _hash_parts(self, words: Sequence[bytes]) -> list[int]:
        """Return the hashes of all runs of half the length."""
        return [*map(hash, zip(*(words[start:] for start in range(self._part)), strict=False))]

    def _hash_runs(self, parts: Sequence[int]) -> Iterable[int]:
        """Return the hashes of all runs of the whole length; two parts, which may have a word in common, make one."""
        return map(hash, zip(parts, parts[self._ngram - self._part :], strict=False))


def read_benchmarks(folders: Sequence[Path], ngram: int) -> Benchmarks:
    """Return the queries of benchmarks; `folders` are artifacts of `sample`."""
    queries: dict[str, list[str]] = {}
    for folder in folders:
        for name, query in rows.read_columns(folder / "prompts.parquet", ("source", "query")):
            queries.setdefault(name, []).append(query)
    return Benchmarks(queries, ngram)


def _hash_whole(text: str) -> int:
    return hash(" ".join(text.casefold().split()).strip(_OUTER))
