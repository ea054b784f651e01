"""The digest of a file, by which artifacts and recipes know its content, and that of a text as a random number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


def file_digest(path: Path, on_read: Callable[[int], None] = lambda count: None) -> str:
    """Return the sha256 of a file's bytes, in hex.

    `on_read` gets the number of bytes after each MiB at most, for a progress line: a model's weights take minutes.
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            on_read(count)
    return digest.hexdigest()


def uniform64(text: str) -> int:
    """Return 64 bits of a text's sha256: a number that is uniform over different texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
