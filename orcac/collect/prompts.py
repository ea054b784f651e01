"""The prompts of a collect node: those of its inputs in order, each id once, read from disk for each pass.

A prompt that occurs several times is used at its first place. Memory holds one byte of each row: whether it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa

from orcac import rows
from orcac.chat.questions import distinct
from orcac.rows import Prompt


class Prompts:
    """The prompts in `folders` (artifacts of `sample`). A shard gets number `index` and every `count`-th after it.

    `contaminated` is the number of prompts that `is_contaminated` leaves out by their query, before shards share them.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        index: int = 0,
        count: int = 1,
        is_contaminated: Callable[[str], bool] | None = None,
    ) -> None:
        self._files = [folder / "prompts.parquet" for folder in folders]
        ids = (id_ for path in self._files for (id_,) in rows.read_columns(path, ("id",)))
        self._mask = distinct(hashlib.blake2b(id_.encode(), digest_size=16).digest() for id_ in ids).first
        self.contaminated: int | None = None
        if is_contaminated:
            queries = (query for path in self._files for (query,) in rows.read_columns(path, ("query",)))
            clean = (first and not is_contaminated(query) for first, query in zip(self._mask, queries, strict=True))
            left = np.fromiter(clean, bool, len(self._mask))
            self.contaminated = int(self._mask.sum() - left.sum())
            self._mask = left
        chosen = np.flatnonzero(self._mask)[index::count]
        self._mask[:] = False
        self._mask[chosen] = True
        self._length = len(chosen)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Prompt]:
        return compress((prompt for path in self._files for prompt in rows.read(path, Prompt)), self._mask)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the (system, query) pair of each prompt."""
        texts = (pair for path in self._files for pair in rows.read_columns(path, ("system", "query")))
        return compress(((system, query) for system, query in texts), self._mask)

    def tables(self, samples: int = 1) -> Iterator[pa.RecordBatch]:
        """Yield the prompts as columns (`rows.Prompt`), some at a time, each prompt `samples` times in a row."""
        for table in self._tables():
            size = max(1, len(table) // samples) if samples > 1 else len(table)
            for start in range(0, len(table), size):
                part = table.slice(start, size)
                yield part.take(pa.array(np.repeat(np.arange(len(part)), samples))) if samples > 1 else part

    def _tables(self) -> Iterator[pa.RecordBatch]:
        shape, at = rows.schema(Prompt), 0
        for path in self._files:
            for table in rows.read_tables(path, shape.names):
                mask = self._mask[at : at + len(table)]
                at += len(table)
                if not mask.all():
                    table = pa.RecordBatch.from_pylist(list(compress(table.to_pylist(), mask)), schema=shape)
                yield table
