"""`rows.safetensors`: the ids of packed examples, from which the three arrays of a row are made when it is read.

    row_examples    I64 (rows + 1,)   number of examples before each row
    lengths         I32 (examples,)   tokens of each example, row by row
    prompt_lengths  I32 (examples,)   of these the first ones, which are not learnt
    ids             U16 (tokens,)     the lowest 16 bits of each id, one example after another, without padding
    high_ids        U8 (tokens / 2,)  four further bits of each id, two ids a byte; only if an id needs them

and as metadata `max_length` and `pad`. So a token takes two bytes, or two and a half if the vocabulary has more than
65,536 tokens, and 8 more for each example. The file is mapped into memory, so that it is never whole in memory, neither
in packing nor in training. Its bytes depend on the values alone. Files of an older orcac have the three arrays
themselves, and are read as well.

The safetensors format is a length (8 bytes, little-endian), a JSON header and the arrays one after another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from orcac.errors import InputError, StoreError

__all__ = ["ID_BITS", "MASKED", "Array", "RowFile", "TokenCounts", "count_tokens", "id_type", "read", "write"]

MASKED = -100  # the label of a token without loss
ID_BITS = 20  # that an id may have: the largest vocabularies have 18
_TYPES = {"I64": "<i8", "I32": "<i4", "U16": "<u2", "U8": "u1"}
_ROWS_AT_ONCE = 4096
_HIGH = np.array([(byte & 15) << 16 | (byte >> 4) << 48 for byte in range(256)], dtype="<i8")  # of two ids


class Array(Protocol):
    """An array int32 (rows, max_length), in a file or made from it. A key begins with a row or a slice of rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class RowFile(NamedTuple):
    """The arrays of a file, each int32 (rows, max_length); see recipe.py."""

    input_ids: Array
    position_ids: Array
    labels: Array


class TokenCounts(NamedTuple):
    """Numbers of tokens: each int64 (rows,), or summed up to each step (steps,)."""

    real: np.ndarray  # without padding
    supervised: np.ndarray  # those with a label


def id_type(vocabulary: int) -> type[np.uint16 | np.int32]:
    """Return the smallest type of the ids of a vocabulary of this size."""
    return np.uint16 if vocabulary <= 1 << 16 else np.int32


def write(
    path: Path,
    packed: Sequence[Sequence[int] | np.ndarray],
    *,
    ids: np.ndarray,
    lengths: np.ndarray,
    prompt_lengths: np.ndarray,
    pad: int,
    max_length: int,
) -> None:
    """Write rows. Padding gets masked labels and positions 0, 1, ... of its own when it is read.

    packed: the examples of each row, as indices into `lengths`
    ids: (tokens,), of all examples in order
    lengths, prompt_lengths: int64 (examples,), in tokens

    The whole file is allocated first, since a full disk would later be a SIGBUS in the memory map. Raises OSError if
    the disk has no room for it, InputError if an id has more than 20 bits.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    members = np.concatenate([np.zeros(0, dtype=np.int64), *packed]).astype(np.int64)
    tokens, largest = int(lengths[members].sum()), int(ids.max(initial=0))
    if largest >> ID_BITS:
        raise InputError(
            f"the tokenizer gives the id {largest:,}", fix="take a student with fewer than a million tokens"
        )
    shapes = {
        "row_examples": ("I64", len(packed) + 1),
        "lengths": ("I32", len(members)),
        "prompt_lengths": ("I32", len(members)),
        "ids": ("U16", tokens),
    }
    if largest >> 16:
        shapes["high_ids"] = ("U8", (tokens + 1) // 2)
    arrays = _create(path, shapes, {"max_length": str(max_length), "pad": str(pad)})
    arrays["row_examples"][:] = np.concatenate([[0], np.cumsum([len(row) for row in packed])])
    arrays["lengths"][:], arrays["prompt_lengths"][:] = lengths[members], prompt_lengths[members]
    filled = 0
    for index in members.tolist():
        some = np.asarray(ids[starts[index] : starts[index + 1]])
        arrays["ids"][filled : filled + len(some)] = some & 0xFFFF
        if "high_ids" in arrays:
            places = np.arange(filled, filled + len(some))
            np.bitwise_or.at(arrays["high_ids"], places >> 1, ((some >> 16) << ((places & 1) << 2)).astype(np.uint8))
        filled += len(some)
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def read(path: Path) -> RowFile:
    """Return a file's arrays, read-only. Raises StoreError if it is cut short."""
    arrays, metadata = _map_arrays(path, "r")
    if "ids" not in arrays:
        return RowFile(*(arrays[name] for name in RowFile._fields))
    arrays = {name: array.view(np.ndarray) for name, array in arrays.items()}  # a slice of a memmap takes microseconds
    table = _Table(arrays, pad=int(metadata["pad"]), max_length=int(metadata["max_length"]))
    return RowFile(*(_Derived(table, number) for number in range(len(RowFile._fields))))


def count_tokens(file: RowFile) -> TokenCounts:
    """Return the numbers of tokens of each row.

    A row's last token is always supervised, so all tokens after the last supervised one are padding.
    """
    if isinstance(file.labels, _Derived):
        return file.labels.table.count()
    real, supervised = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(file.labels), _ROWS_AT_ONCE):
        mask = np.asarray(file.labels[start : start + _ROWS_AT_ONCE]) != MASKED
        counts = mask.sum(axis=1)
        real.append(np.where(counts > 0, mask.shape[1] - mask[:, ::-1].argmax(axis=1), 0))
        supervised.append(counts)
    return TokenCounts(np.concatenate(real), np.concatenate(supervised))


class _Table:
    """The rows of a file."""

    def __init__(self, arrays: Mapping[str, np.ndarray], *, pad: int, max_length: int) -> None:
        self._lengths, self._prompts, self._ids = arrays["lengths"], arrays["prompt_lengths"], arrays["ids"]
        self._high = arrays.get("high_ids")
        self._examples = np.array(arrays["row_examples"])
        self._starts = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])[self._examples]
        self._pad, self._counting = pad, np.arange(max_length, dtype=np.int32)
        self.shape = (len(self._examples) - 1, max_length)
        self._last: tuple[int | None, np.ndarray] = (None, np.empty(0))  # the row that was read last

    def row(self, row: int) -> np.ndarray:
        """Return the three arrays of a row, int32 (3, max_length)."""
        if row != self._last[0]:
            self._last = row, self._make(range(self.shape[0])[row])
        return self._last[1]

    def _make(self, row: int) -> np.ndarray:
        first, last = self._examples.item(row), self._examples.item(row + 1)
        start, end = self._starts.item(row), self._starts.item(row + 1)
        size = end - start
        arrays = np.empty((3, self.shape[1]), dtype=np.int32)
        ids, positions, labels = arrays
        ids[:size] = self._ids[start:end]
        if self._high is not None:
            ids[:size] |= _HIGH[self._high[start >> 1 : (end + 1) >> 1]].view("<i4")[start & 1 :][:size]
        labels[:size] = ids[:size]
        at = 0
        examples = zip(self._lengths[first:last].tolist(), self._prompts[first:last].tolist(), strict=True)
        for length, prompt in examples:
            positions[at : at + length] = self._counting[:length]
            labels[at : at + prompt] = MASKED
            at += length
        if size < self.shape[1]:
            ids[size:], labels[size:] = self._pad, MASKED
            positions[size:] = self._counting[: self.shape[1] - size]
        return arrays

    def count(self) -> TokenCounts:
        """Return the numbers of tokens of each row."""
        learnt = np.subtract(self._lengths, self._prompts, dtype=np.int64)
        ends = np.concatenate([[0], np.cumsum(learnt)])[self._examples]
        return TokenCounts(np.diff(self._starts), np.diff(ends))


class _Derived:
    """One of the three arrays of a table. A row whose arrays are read one after another is made once."""

    def __init__(self, table: _Table, number: int) -> None:
        self.table, self._number, self.shape = table, number, table.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if type(key) is int:
            return self.table.row(key)[self._number]
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if not isinstance(rows, slice):
            return self.table.row(rows)[self._number][rest or slice(None)]
        some = [self.table.row(row)[self._number] for row in range(len(self))[rows]]
        return np.array(some, dtype=np.int32).reshape(-1, self.shape[1])[(slice(None), *rest)]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))


def _create(path: Path, shapes: Mapping[str, tuple[str, int]], metadata: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Create a file of zeros, and return its arrays."""
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, (kind, length) in shapes.items():
        start, end = end, end + length * np.dtype(_TYPES[kind]).itemsize
        header[name] = {"dtype": kind, "shape": [length], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, 8 + len(text) + end)
    return _map_arrays(path, "r+")[0]


def _map_arrays(path: Path, mode: Literal["r", "r+"]) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    """Return the arrays of a file by name, and its metadata. Raises StoreError if it is cut short."""
    with path.open("rb") as file:
        start = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start))
        size = file.seek(0, os.SEEK_END)
    metadata = header.pop("__metadata__", {})
    if size < 8 + start + max(entry["data_offsets"][1] for entry in header.values()):
        raise StoreError(f"{path}: the file is cut short", fix="delete the artifact and make it again")
    arrays: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        kind, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
        if 0 in shape:
            arrays[name] = np.zeros(shape, dtype=kind)
        else:
            offset = 8 + start + entry["data_offsets"][0]
            arrays[name] = np.memmap(path, dtype=kind, mode=mode, offset=offset, shape=shape)
    return arrays, metadata
