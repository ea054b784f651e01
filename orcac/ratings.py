"""Ratings: a number for each answer of a dataset, which `rate` writes and other kinds read.

A question is named by 8 bytes of a digest of its source, its text, and the system message that it brings itself. So a
question keeps its value where another system message is drawn for it.

    question  uint64   the question's digest
    id        string   the prompt's id
    sample    int64    the number of the answer
    value     double   null if the answer has no rating
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.store.durable import replacing_by_name

__all__ = [
    "FILE",
    "Digests",
    "Rating",
    "Values",
    "digest_questions",
    "read_digests",
    "read_points",
    "read_values",
    "write_ratings",
]

FILE = "ratings.parquet"
_ROWS_AT_ONCE = 10_000
_SHAPE = pa.schema([("question", pa.uint64()), ("id", pa.string()), ("sample", pa.int64()), ("value", pa.float64())])

Digests = npt.NDArray[np.uint64]


class Rating(NamedTuple):
    """The rating of one answer."""

    question: int
    id: str
    sample: int
    value: float | None


def digest_questions(sources: Sequence[str], queries: Sequence[str], systems: Sequence[str | None] | None) -> bytes:
    """Return 8 bytes for each question. `systems`: the questions' own messages, if any has one."""
    texts = [f"{source}\x1f{query}" for source, query in zip(sources, queries, strict=True)]
    if systems is not None:
        pairs = zip(texts, systems, strict=True)
        texts = [text if system is None else f"{text}\x1f{system}" for text, system in pairs]
    return b"".join([hashlib.sha256(text.encode()).digest()[:8] for text in texts])


def read_digests(digests: bytes | bytearray) -> Digests:
    """Return the digests of `digest_questions` as numbers, uint64 (questions,)."""
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


def write_ratings(path: Path, ratings: Iterable[Rating]) -> None:
    """Write ratings. The file appears whole or not at all."""
    with replacing_by_name(path) as part, pq.ParquetWriter(part, _SHAPE, compression="zstd") as writer:
        some: list[Rating] = []
        for rating in ratings:
            some.append(rating)
            if len(some) == _ROWS_AT_ONCE:
                writer.write_batch(_as_table(some))
                some = []
        writer.write_batch(_as_table(some))


def _as_table(some: Sequence[Rating]) -> pa.RecordBatch:
    columns = zip(*some, strict=True) if some else [()] * len(_SHAPE)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SHAPE, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SHAPE)


class Values:
    """The value of each question: the mean rating of its answers. A question takes 16 bytes."""

    def __init__(self, questions: Digests, ratings: npt.NDArray[np.float64]) -> None:
        """questions, ratings: one for each answer that has a rating, in any order"""
        self._questions, groups = np.unique(questions, return_inverse=True)
        counts = np.bincount(groups, minlength=len(self._questions))
        self._means = np.bincount(groups, weights=ratings, minlength=len(self._questions)) / np.maximum(counts, 1)

    @property
    def means(self) -> npt.NDArray[np.float64]:
        """The values of all questions, float64 (questions,)."""
        return self._means

    def find(self, questions: Digests) -> npt.NDArray[np.float64]:
        """Return the value of each of the questions, float64; NaN for one without a value."""
        if not len(self._questions):
            return np.full(len(questions), np.nan)
        at = np.minimum(np.searchsorted(self._questions, questions), len(self._questions) - 1)
        return np.where(self._questions[at] == questions, self._means[at], np.nan)


def read_values(folder: Path) -> Values:
    """Return the values of the questions that the artifact `folder` of `rate` has."""
    some = [
        table.select(["question", "value"]).filter(table.column("value").is_valid()) for table in _read_tables(folder)
    ]
    table = pa.Table.from_batches(some) if some else _SHAPE.empty_table()
    return Values(table.column("question").to_numpy(), table.column("value").to_numpy())


def read_points(folder: Path) -> Iterator[float | None]:
    """Yield the rating of each answer that the artifact `folder` of `rate` has, in the order of the answers."""
    for table in _read_tables(folder):
        yield from table.column("value").to_pylist()


def _read_tables(folder: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(folder / FILE, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
