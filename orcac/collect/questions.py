"""What a collect node asks: the prompts of its inputs, each id once, gone through on disk as often as is needed.

A prompt that several inputs hold counts where it stands first. Only what numbers a prompt is held in memory, so that
a million of them take some 20 MB: whether each row of the inputs counts, and the key of each that does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from orcac import rows
from orcac.chat.messages import ChatRequest, conversation, digest, key_head
from orcac.collect.recipe import CollectRecipe
from orcac.rows import Prompt

Mask = npt.NDArray[np.bool_]


class Questions:
    """The prompts of `folders` (of artifacts of `sample`), in order; of them those number index, index + count, ..."""

    def __init__(self, recipe: CollectRecipe, folders: Sequence[Path], *, index: int = 0, count: int = 1) -> None:
        self._recipe = recipe
        self._files = [folder / "prompts.parquet" for folder in folders]
        ids = _digests(hashlib.blake2b(id_.encode(), digest_size=16).digest() for (id_,) in self._columns("id"))
        self._counts = np.zeros(len(ids), bool)
        self._counts[np.unique(ids, return_index=True)[1]] = True
        chosen = np.flatnonzero(self._counts)[index::count]
        self._counts[:] = False
        self._counts[chosen] = True
        self._length = len(chosen)

    def __len__(self) -> int:
        return self._length

    @cached_property
    def keys(self) -> npt.NDArray[np.bytes_]:
        """S16 (length,): the key of each prompt's request; equal where the texts are."""
        if not len(self):
            return np.empty(0, "S16")
        head = key_head(request(self._recipe, system="", query=""))
        return _digests(digest(head, conversation(system=system, user=query)) for query, system in self._texts())

    @cached_property
    def first(self) -> Mask:
        """(length,): whether no earlier prompt has the same request."""
        mask = np.zeros(len(self), bool)
        mask[np.unique(self.keys, return_index=True)[1]] = True
        return mask

    def prompts(self) -> Iterator[Prompt]:
        every = (prompt for path in self._files for prompt in rows.read(path, Prompt))
        return (prompt for prompt, counts in zip(every, self._counts, strict=True) if counts)

    def requests(self, wanted: Mask | None = None) -> Iterator[ChatRequest]:
        """The request of each prompt, or of those of the mask alone."""
        for number, (query, system) in enumerate(self._texts()):
            if wanted is None or wanted[number]:
                yield request(self._recipe, system=system, query=query)

    def _texts(self) -> Iterator[tuple[str, str]]:
        return (texts for texts, counts in zip(self._columns("query", "system"), self._counts, strict=True) if counts)

    def _columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        for path in self._files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=4096, columns=list(names), use_threads=False):
                    yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def request(recipe: CollectRecipe, *, system: str, query: str) -> ChatRequest:
    return ChatRequest(
        model=recipe.model,
        messages=conversation(system=system, user=query),
        sampling=recipe.sampling,
        origin=recipe.answerer,
    )


def _digests(digests: Iterator[bytes]) -> npt.NDArray[np.bytes_]:
    return np.fromiter(digests, "S16")
