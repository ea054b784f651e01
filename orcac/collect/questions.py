"""What a collect node asks: the prompts of its inputs, each id once, gone through on disk as often as is needed.

A prompt that several inputs hold counts where it stands first. Only what numbers a prompt is held in memory, so that
a million of them take some 20 MB: whether each row of the inputs counts, and the key of each that does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orcac import rows
from orcac.chat.ledger.keys import Keys, argsort_keys
from orcac.chat.messages import ChatRequest, conversation, digest_of, key_head, turn_tail
from orcac.collect.recipe import CollectRecipe
from orcac.rows import Prompt

Mask = npt.NDArray[np.bool_]


class Distinct(NamedTuple):
    """Digests, some of them equal."""

    keys: Keys  # sorted, each once
    number: npt.NDArray[np.uint32]  # for each digest, where it stands in `keys`
    first: Mask  # for each digest, whether no earlier one is equal


class Questions:
    """The prompts of `folders` (of artifacts of `sample`), in order; of them those number index, index + count, ..."""

    def __init__(self, recipe: CollectRecipe, folders: Sequence[Path], *, index: int = 0, count: int = 1) -> None:
        self._recipe = recipe
        self._files = [folder / "prompts.parquet" for folder in folders]
        blake2b = hashlib.blake2b
        self._counts = distinct(blake2b(id_.encode(), digest_size=16).digest() for (id_,) in self._columns("id")).first
        chosen = np.flatnonzero(self._counts)[index::count]
        self._counts[:] = False
        self._counts[chosen] = True
        self._length = len(chosen)

    def __len__(self) -> int:
        return self._length

    @cached_property
    def keys(self) -> Distinct:
        """The key of each prompt's request; equal where the texts are."""
        head = key_head(request(self._recipe, system="", query=""))
        return distinct(digest_of(head, turn_tail(system=system, user=query)) for query, system in self._texts())

    @cached_property
    def first(self) -> Mask:
        """For each prompt, whether no earlier one has the same request."""
        return self.keys.first

    def key(self, number: int) -> str:
        """Of the prompt with this number, as `ChatRequest.key` has it."""
        return self.keys.keys[self.keys.number[number]].ljust(16, b"\0").hex()

    def forget_keys(self) -> None:
        """They are made again where they are needed; what `first` says is kept."""
        _ = self.first
        del self.keys

    def prompts(self) -> Iterator[Prompt]:
        return compress((prompt for path in self._files for prompt in rows.read(path, Prompt)), self._counts)

    def tables(self) -> Iterator[pa.RecordBatch]:
        """The prompts as columns, some at a time."""
        shape, at = rows.schema(Prompt), 0
        for path in self._files:
            for table in rows.read_tables(path, shape.names):
                counts = self._counts[at : at + len(table)]
                at += len(table)
                if not counts.all():
                    table = pa.RecordBatch.from_pylist(list(compress(table.to_pylist(), counts)), schema=shape)
                yield table

    def requests(self) -> Iterator[ChatRequest]:
        """The request of each prompt."""
        return (request(self._recipe, system=system, query=query) for query, system in self._texts())

    def requests_where(self, wanted: Mask) -> Iterator[ChatRequest]:
        """Those of the mask alone. Their keys are not made again."""
        keys, chosen = self.keys.keys, self.keys.number[wanted]
        for (query, system), number in zip(compress(self._texts(), wanted), chosen, strict=True):
            made = request(self._recipe, system=system, query=query)
            made.know_key(keys[number].ljust(16, b"\0"))
            yield made

    def _texts(self) -> Iterator[tuple[str, str]]:
        return compress(self._columns("query", "system"), self._counts)

    def _columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        return (values for path in self._files for values in rows.read_columns(path, names))


def request(recipe: CollectRecipe, *, system: str, query: str) -> ChatRequest:
    return ChatRequest(
        model=recipe.model,
        messages=conversation(system=system, user=query),
        sampling=recipe.sampling,
        origin=recipe.answerer,
    )


def distinct(digests: Iterable[bytes]) -> Distinct:
    every = np.fromiter(digests, "S16")
    order = argsort_keys(every)  # equal ones as they stand
    every = every[order]
    new = np.ones(len(every), bool)
    new[1:] = every[1:] != every[:-1]
    first = np.zeros(len(every), bool)
    first[order[new]] = True
    number = np.empty(len(every), "u4")
    number[order] = np.cumsum(new, dtype="u4") - 1
    return Distinct(every if new.all() else every[new], number, first)
