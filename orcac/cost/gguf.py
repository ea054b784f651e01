"""The parameters and the shape of a model in a GGUF file, from its header.

The header has the metadata and the dimensions of each tensor, and it precedes the weights, so only the start of the
file is read, with the standard library alone. `student/gguf.py` converts the whole file when the student is made.
"""

from __future__ import annotations

import functools
import math
import struct
from pathlib import Path

from orcac.student.recipe import Scratch

__all__ = ["read_gguf"]

_MAX_HEADER = 64 * 2**20  # bytes; a vocabulary of 256,000 entries takes some 16 MiB
_VERSIONS = (2, 3)  # the lengths of version 1 have 4 bytes
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


def read_gguf(path: Path) -> tuple[int, Scratch | None] | None:
    """Return the number of weights of a GGUF file and its shape; None if the header cannot be read.

    The shape is None if the metadata lack a part of it.
    """
    try:
        status = path.stat()
        return _read(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, struct.error):
        return None


@functools.lru_cache(maxsize=8)
def _read(path: Path, size: int, changed: int) -> tuple[int, Scratch | None]:
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
    return sum(map(math.prod, dimensions.values())), _find_shape(metadata, dimensions)


def _find_shape(metadata: dict[str, object], dimensions: dict[str, tuple[int, ...]]) -> Scratch | None:
    kind = metadata.get("general.architecture")
    names = ("embedding_length", "block_count", "attention.head_count", "feed_forward_length")
    found = [metadata.get(f"{kind}.{name}") for name in names]
    numbers = [value for value in found if isinstance(value, int) and value > 0]
    embeddings = dimensions.get("token_embd.weight", ())
    if len(numbers) < len(names) or len(embeddings) != 2:
        return None
    hidden, layers, heads, intermediate = numbers
    kv_heads = metadata.get(f"{kind}.attention.head_count_kv")
    return Scratch(
        vocabulary=embeddings[1],
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads if isinstance(kv_heads, int) and kv_heads > 0 else heads,
        intermediate=intermediate,
        positions=1,
        tie_embeddings="output.weight" not in dimensions,
    )


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
