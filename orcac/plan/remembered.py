"""Facts of large local files that are remembered between commands, so that a plan does not read 2 GB each time.

A fact holds as long as the file has the same path, device, inode, size, and times of its content and of its inode. The
last of these (`ctime`) changes with every write and cannot be set back. A file that has just been written may change
again within one tick of its clock, so it is not remembered yet.

The record belongs to the user's cache and to one machine. It is never read on another: two machines may see different
files under one path. Deleting it costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import TypeAlias

from orcac.store import durable

__all__ = ["Remembered"]

Fact: TypeAlias = str | bool

_SMALLEST = 1 << 20  # bytes; a smaller file is read faster than it is looked up
_TICK = 2.0  # seconds, the coarsest clock of a file system
_MOST = 10_000  # files


class Remembered:
    """The facts of files by name, read from and written to one file of the user's cache.

    folder: where that file is; None is the user's cache
    """

    def __init__(self, folder: Path | None = None) -> None:
        name = f"files-{hashlib.sha256(_name_machine()).hexdigest()[:16]}.json"
        self._path = (_find_cache() if folder is None else folder) / name
        self._files: dict[str, dict[str, object]] | None = None

    def get(self, path: Path, name: str) -> Fact | None:
        """Return a fact of a file; None if it is not known, or if the file may have changed."""
        state = _describe(path)
        known = self._read().get(str(path.absolute())) if state else None
        fact = known.get(name) if known and known.get("state") == state else None
        return fact if isinstance(fact, str | bool) else None

    def put(self, path: Path, name: str, fact: Fact, before: object) -> None:
        """Remember a fact of a file, unless the file has changed since its state was `before`, or has just done so."""
        state = _describe(path)
        if not state or state != before or time.time() - max(state[-2:]) / 1e9 < _TICK:
            return
        files = self._read()
        key = str(path.absolute())
        known = files.pop(key, {})
        files[key] = {**(known if known.get("state") == state else {}), "state": state, name: fact}
        for oldest in [*files][:-_MOST]:
            del files[oldest]
        with contextlib.suppress(OSError):  # a home that cannot be written to costs only time
            self._path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(self._path, json.dumps(files), sync=False)

    def state(self, path: Path) -> object:
        """Return what `put` compares; take it before the file is read."""
        return _describe(path)

    def _read(self) -> dict[str, dict[str, object]]:
        if self._files is None:
            self._files = {}
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self._path.read_bytes())
                if isinstance(content, dict) and all(isinstance(known, dict) for known in content.values()):
                    self._files = content
        return self._files


def _name_machine() -> bytes:
    number = b""
    with contextlib.suppress(OSError):
        number = Path("/etc/machine-id").read_bytes()
    return platform.node().encode() + b" " + number


def _find_cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orcac"
    except RuntimeError:  # a user without a home
        return Path(os.devnull) / "orcac"


def _describe(path: Path) -> list[int] | None:
    """Return the state of a large file: device, inode, size, and the times of its content and its inode, in ns."""
    try:
        found = path.stat()
    except OSError:
        return None
    if found.st_size < _SMALLEST:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
