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
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orcac.store import durable

__all__ = ["Remembered"]

F = TypeVar("F", str, bool)

_SMALLEST = 1 << 20  # bytes; a smaller file is read faster than it is looked up
_MOST = 10_000  # files


class Remembered:
    """The facts of files by name, read from and written to one file of the user's cache.

    folder: where that file is; None is the user's cache
    tick: seconds for which a file that was just written may change without a trace in its times: the coarsest clock of
    a file system
    clock: returns the time in seconds since 1970
    """

    def __init__(
        self, folder: Path | None = None, *, tick: float = 2.0, clock: Callable[[], float] = time.time
    ) -> None:
        name = f"files-{hashlib.sha256(_name_machine()).hexdigest()[:16]}.json"
        self._path = (_find_cache() if folder is None else folder) / name
        self._tick, self._clock = tick, clock
        self._files: dict[str, dict[str, object]] | None = None
        self._is_changed = False

    def find(self, path: Path, name: str, kind: type[F], compute: Callable[[Path], F | None]) -> F | None:
        """Return a fact of a file, remembered or computed.

        A computed fact is remembered unless it is None, or the file was just written, or it changes meanwhile.
        """
        now, state = self._clock(), _describe(path)
        known = self._read().get(str(path.absolute())) if state else None
        fact = known.get(name) if known and known.get("state") == state else None
        if isinstance(fact, kind):
            return fact
        # the age is that before the file is read: a write in the same tick as `state` leaves no trace in the times
        is_settled = state is not None and now - max(state[-2:]) / 1e9 >= self._tick
        computed = compute(path)
        if state and is_settled and computed is not None and _describe(path) == state:
            self._put(path, name, computed, state)
        return computed

    def save(self) -> None:
        """Write the record if it has changed. A home that cannot be written to costs only time."""
        if not self._is_changed:
            return
        self._is_changed = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(self._path, json.dumps(self._read()), sync=False)

    def _put(self, path: Path, name: str, fact: str | bool, state: list[int]) -> None:
        files, key = self._read(), str(path.absolute())
        known = files.pop(key, {})
        files[key] = {**(known if known.get("state") == state else {}), "state": state, name: fact}
        for oldest in [*files][:-_MOST]:
            del files[oldest]
        self._is_changed = True

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
