"""The header of a GGUF file, read with the standard library.

It has the metadata and the dimensions of each tensor, and it precedes the weights, so only the start of the file is
read. `student/gguf.py` converts the whole file when the student is made.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import NamedTuple

from orcac.model.config_file import first_size

__all__ = ["GgufHeader", "read_header"]

_MAX_HEADER = 64 * 2**20  # bytes; a vocabulary of 256,000 entries takes some 16 MiB
_VERSIONS = (2, 3)  # the lengths of version 1 have 4 bytes
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class GgufHeader(NamedTuple):
    """The header of a GGUF file."""

    metadata: dict[str, object]  # the integers and texts by name; None for values of other types
    dimensions: dict[str, tuple[int, ...]]  # of each tensor

    @property
    def positions(self) -> int | None:
        """The number of positions that the file states; None if it states none."""
        return first_size([self.metadata.get(f"{self.metadata.get('general.architecture')}.context_length")])


def read_header(path: Path) -> GgufHeader | None:
    """Return the header of a GGUF file; None if it cannot be read."""
    try:
        status = path.stat()
        return _read(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, struct.error):
        return None


@functools.lru_cache(maxsize=8)
def _read(path: Path, size: int, changed: int) -> GgufHeader:
    """Read a header. `size` and `changed` identify the file's content in the cache."""
    with path.open("rb") as file:
        header = _Header(file.read(_MAX_HEADER))
    header.check_start()
    tensors, entries = header.integer("Q"), header.integer("Q")
    metadata = {}
    for _ in range(entries):
        name = header.text()
        metadata[name] = header.value(header.integer("I"))
    dimensions = {}
    for _ in range(tensors):
        name = header.text()
        dimensions[name] = header.dimensions()
    return GgufHeader(metadata, dimensions)


class _Header:
    """The bytes of a header, read from front to back. Raises ValueError or struct.error if they are not one."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def check_start(self) -> None:
        """Read the magic bytes and the version."""
        self._at = 4
        if self._content[:4] != b"GGUF" or self.integer("I") not in _VERSIONS:
            raise ValueError("not a GGUF file of a known version")

    def integer(self, code: str) -> int:
        """Read an integer of the type `code` of struct."""
        (value,) = struct.unpack_from(f"<{code}", self._content, self._at)
        self._skip(struct.calcsize(f"<{code}"))
        return int(value)

    def text(self) -> str:
        """Read a length and a text."""
        size = self.integer("Q")
        start = self._at
        self._skip(size)
        return self._content[start : self._at].decode("utf-8", errors="replace")

    def value(self, kind: int) -> object:
        """Read a value of the metadata, and return it if it is an integer or a text; else None."""
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        code = _SCALARS.get(kind, "")
        if code in ("", "f", "d", "?"):
            self._skip(self._size_of(kind))
            return None
        return self.integer(code)

    def dimensions(self) -> tuple[int, ...]:
        """Read the dimensions of a tensor, and skip its type and its place."""
        count = self.integer("I")
        found = struct.unpack_from(f"<{min(count, 8)}Q", self._content, self._at)
        self._skip(8 * count + 12)
        return found

    def _skip_array(self) -> None:
        kind, count = self.integer("I"), self.integer("Q")
        if kind != _TEXT:
            self._skip(self._size_of(kind) * count)
            return
        for _ in range(count):
            self._skip(self.integer("Q"))

    def _size_of(self, kind: int) -> int:
        if kind not in _SCALARS:
            raise ValueError(f"unknown type {kind}")
        return struct.calcsize(f"<{_SCALARS[kind]}")

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise ValueError("the header is cut short")
