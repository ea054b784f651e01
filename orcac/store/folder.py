"""A folder that somebody asked for: it appears when it is whole, or not at all, and replaces nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orcac.errors import InputError


@contextlib.contextmanager
def whole(out: Path, *, needs: int = 0) -> Iterator[Path]:
    """A folder beside `out` to write to; at the end it is synced and becomes `out`, after an error it goes away.

    Raises InputError where `out` is there already, or fewer than `needs` bytes are free.
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: is there already", fix="name a folder that is not, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < needs:
        raise InputError(
            f"{out.parent}: {needs / 1e9:.1f} GB are needed where {free / 1e9:.1f} GB are free",
            fix="free some space, or name a folder on another disk",
        )
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        yield part
        part.chmod(0o755)
        for path in part.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
