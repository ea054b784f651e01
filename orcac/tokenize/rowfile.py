"""`rows.safetensors` as memory-mapped arrays, so that it is never whole in memory, neither in packing nor in training.

The safetensors format is a length (8 bytes, little-endian), a JSON header and the arrays one after another; any other
tool reads the file as usual. Its bytes depend only on the values.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from orcac.errors import StoreError

Array = np.memmap[tuple[int, ...], np.dtype[np.int32]]
MASKED = -100  # the label of a token without loss


class RowFile(NamedTuple):
    """The arrays of a file, each int32 (rows, max_length); see recipe.py."""

    input_ids: Array
    position_ids: Array
    labels: Array


def create(path: Path, *, rows: int, max_length: int) -> RowFile:
    """Create a file, and return its arrays, to be filled in place. Their `flush` writes them to the disk.

    The whole file is allocated now, since a full disk would later be a SIGBUS in the memory map. Raises OSError if the
    disk has no room for it.
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
    return _map_arrays(path, "r+")


def read(path: Path) -> RowFile:
    """Return a file's arrays, read-only. Raises StoreError if it is cut short."""
    return _map_arrays(path, "r")


def _map_arrays(path: Path, mode: Literal["r", "r+"]) -> RowFile:
    with path.open("rb") as file:
        start = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start))
    try:
        return RowFile(
            *(
                np.memmap(
                    path,
                    dtype="<i4",
                    mode=mode,
                    offset=8 + start + header[name]["data_offsets"][0],
                    shape=tuple(header[name]["shape"]),
                )
                for name in RowFile._fields
            )
        )
    except ValueError as error:
        raise StoreError(f"{path}: the file is cut short", fix="delete the artifact and make it again") from error
