"""Turning dead logs into Parquet files (`segments` says what these are), and small ones of these into larger ones.

Nothing is ever lost on the way: a sealed file appears whole, by a rename, before what went into it is removed, and
whoever finds both reads one of them. A log is renamed before it is sealed, and a writer looks for the name of its log
after every sync: a writer that stood still for so long that it was taken for dead writes its last records again,
elsewhere. So the lock and the heartbeat save work and are nothing that an answer depends on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import time
from pathlib import Path

import pyarrow.parquet as pq

from orcac.chat.ledger.files import SCHEMA, WORDS, File, Log, Sealed, allow_many_files, close
from orcac.store.durable import move
from orcac.store.lease import STALE_SECONDS

_LOGS, _LOG_BYTES = 16, 4 << 20  # so many dead logs, or so many bytes of them, are worth sealing
_ZSTD_GAIN = 4  # about how much smaller sealed records are
_SMALL_BYTES = 1 << 20  # sealed files of less are always taken into the next


def seal(folder: Path) -> None:
    """Turn dead logs into a Parquet file, where there are enough of them, and small Parquet files into a larger one.

    One process does it; others go on meanwhile. Where the folder cannot be written, nothing is done. Raises StoreError
    where a record is damaged.
    """
    allow_many_files()
    with contextlib.suppress(OSError):
        if not _is_worth_it([*folder.glob("*.sealing"), *(path for path in folder.glob("*.jsonl") if _is_old(path))]):
            return
        with (folder / "seal.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _seal(folder)


def _seal(folder: Path) -> None:
    _tidy(folder)
    with contextlib.ExitStack() as held:
        dead = [path for path in folder.glob("*.jsonl") if _is_dead(path, held)]
        logs = [*dead, *folder.glob("*.sealing")]
        if not _is_worth_it(logs):
            return
        size = sum(path.stat().st_size for path in logs)
        logs = sorted(path.rename(path.with_suffix(".sealing")) for path in logs)
        small, gathered = [], size // _ZSTD_GAIN
        for path in sorted(folder.glob("*.parquet"), key=lambda path: path.stat().st_size):
            if path.stat().st_size <= max(_SMALL_BYTES, 2 * gathered):
                small.append(path)
                gathered += path.stat().st_size
        files: list[File] = [*map(Sealed, small), *map(Log, logs)]
        try:
            _write(folder, files)
        finally:
            close(files)
        for path in (*logs, *small):
            path.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove what a sealer that was killed has left."""
    for path in folder.glob("*.part"):
        path.unlink(missing_ok=True)
    sealed = [Sealed(path) for path in folder.glob("*.parquet")]
    close(sealed)
    for name in {name for file in sealed for name in file.made_from}:
        for suffix in (".jsonl", ".sealing", ".parquet"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _is_worth_it(logs: list[Path]) -> bool:
    return len(logs) >= _LOGS or sum(path.stat().st_size for path in logs) >= _LOG_BYTES


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > STALE_SECONDS


def _is_dead(path: Path, held: contextlib.ExitStack) -> bool:
    """Whether the writer is gone: nobody holds the lock, here or, by the heartbeat, on another host. Keeps the lock."""
    if not _is_old(path):
        return False
    file = held.enter_context(path.open("r+b"))  # as an exclusive lock on NFS demands
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(folder: Path, files: list[File]) -> None:
    name = secrets.token_hex(8)
    part, path = folder / f"{name}.part", folder / f"{name}.parquet"
    shape = SCHEMA.with_metadata({"made_from": json.dumps([file.path.stem for file in files])})
    with pq.ParquetWriter(part, shape, compression="zstd", use_dictionary=WORDS, write_statistics=False) as writer:
        for file in files:
            for table in file.tables():
                writer.write_table(table.replace_schema_metadata(shape.metadata))
    move(part, path)
