"""Flips bytes of a store at rest, and checks that `orcac verify` names every damaged file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_WORKING = {"shards", "work", "lease.lock", "lease.json", "error.json", "log.txt"}


class Flip(NamedTuple):
    """A flipped bit of a file, `content` being what the file held before."""

    path: Path
    content: bytes

    def undo(self) -> None:
        self.path.write_bytes(self.content)


def flip(path: Path, draw: random.Random, *, end: int | None = None) -> Flip:
    """Flip one bit of the first `end` bytes of a file."""
    content = path.read_bytes()
    at, bit = draw.randrange(len(content) if end is None else end), draw.randrange(8)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    return Flip(path, content)


def list_finished(store: Path) -> list[Path]:
    """Return the files of finished artifacts, their records included."""
    return [
        path
        for marker in sorted(store.glob("*/*/artifact.json"))
        for path in sorted(marker.parent.rglob("*"))
        if path.is_file() and path.relative_to(marker.parent).parts[0] not in _WORKING and path.stat().st_size
    ]


def list_ledger(store: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files of the ledger, each with the end of its last whole record."""
    for path in sorted((store / "answers").glob("*.*")):
        if path.suffix in (".jsonl", ".sealing") and (end := path.read_bytes().rfind(b"\n") + 1):
            yield path, end
        elif path.suffix == ".parquet":
            yield path, path.stat().st_size


def list_unfinished(store: Path) -> list[Path]:
    """Return the files that unfinished nodes go on from: checkpoints, and answers of evaluations."""
    return [
        path
        for work in store.glob("*/*/work")
        if not (work.parent / "artifact.json").exists()
        for path in sorted(work.rglob("*"))
        if path.is_file() and path.stat().st_size and path.name != "progress.json"
    ]
