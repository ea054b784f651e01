"""`rows.safetensors` as memory-mapped arrays, so that neither who writes it nor who trains on it holds it in memory.

The safetensors format is a length (8 bytes, little-endian), a JSON header and the arrays one after another; any
other tool reads the file as usual. Its bytes depend on nothing but the values.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orcac.errors import StoreError

Array = np.memmap[Any, np.dtype[np.int32]]
MASKED = -100  # a label that no loss is computed on


class RowFile(NamedTuple):
    """Each int32 (rows, max_length); see recipe.py."""

    input_ids: Array
    position_ids: Array
    labels: Array


def create(path: Path, *, rows: int, max_length: int) -> RowFile:
    """A new file of that size, to be filled in place; the arrays' `flush` sends it to the disk.

    Raises OSError where the disk has no room for all of it: found out later, in a memory map, that is a SIGBUS.
    """
    size = rows * max_length * 4
    header = {
        name: {"dtype": "I32", "shape": [rows, max_length], "data_offsets": [index * size, (index + 1) * size]}
        for index, name in enumerate(RowFile._fields)
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, 8 + len(text) + len(header) * size)
    return _map(path, "r+")


def read(path: Path) -> RowFile:
    """The file's arrays, read-only. Raises StoreError when it is cut short."""
    return _map(path, "r")


def _map(path: Path, mode: str) -> RowFile:
    with path.open("rb") as file:
        start = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start))
    try:
        return RowFile(
            *(
                np.memmap(
                    path,
                    dtype="<i4",
                    mode=mode,  # type: ignore[call-overload]
                    offset=8 + start + header[name]["data_offsets"][0],
                    shape=tuple(header[name]["shape"]),
                )
                for name in RowFile._fields
            )
        )
    except ValueError as error:
        raise StoreError(f"{path}: the file is cut short", fix="delete the artifact and make it again") from error
