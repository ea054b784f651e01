"""The digest of a file, by which artifacts and recipes know its content."""

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
