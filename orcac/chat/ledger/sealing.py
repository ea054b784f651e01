"""Sealing: merging dead logs into Parquet files, and small Parquet files into larger ones (`files` describes both).

No record is ever lost on the way. A sealed file appears whole, by a rename, before the files merged into it are
removed; a reader that finds both reads one of them. A log is renamed before it is sealed, and its writer checks that
name after every sync: a writer that paused for so long that it was taken for dead writes its last records again, to
another log. So the lock and the heartbeat save work, and no answer depends on them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from pathlib import Path

import pyarrow.parquet as pq

from orcac.chat.ledger.files import File, allow_many_files, close_files
from orcac.chat.ledger.log import Log
from orcac.chat.ledger.sealed import DICTIONARY_COLUMNS, SCHEMA, SealedFile, has_digest, name_of
from orcac.store.durable import move
from orcac.store.links import refuse_links
from orcac.store.locks import STALE_SECONDS, file_system_time, flock, try_hold

_ZSTD_RATIO = 4  # bytes of a log per byte of a sealed file, about
_SMALL_BYTES = 1 << 20  # sealed files of up to this size are always merged into the next


def seal(folder: Path, *, min_logs: int = 16, min_bytes: int = 4 << 20, everything: bool = False) -> None:
    """Merge dead logs into a Parquet file, and small Parquet files with them.

    Do nothing if there are fewer than `min_logs` dead logs and they hold less than `min_bytes`, if another process is
    sealing, or if the folder cannot be written. With `everything`, all dead logs and all Parquet files without a digest
    are merged. Raises StoreError if a record is damaged.
    """

    def is_worth_it(logs: list[Path]) -> bool:
        return everything or len(logs) >= min_logs or sum(path.stat().st_size for path in logs) >= min_bytes

    allow_many_files()
    refuse_links(folder)
    with contextlib.suppress(OSError):
        may_be_dead = [path for path in folder.glob("*.jsonl") if _is_old(path, time.time())]
        if not is_worth_it([*folder.glob("*.sealing"), *may_be_dead]):
            return
        with try_hold(folder / "seal.lock") as held, contextlib.ExitStack() as locks:
            if not held:
                return
            _tidy(folder)
            now = file_system_time(folder / "seal.lock")
            dead = [path for path in folder.glob("*.jsonl") if _is_dead(path, now, locks)]
            logs = [*dead, *folder.glob("*.sealing")]
            old = [path for path in folder.glob("*.parquet") if everything and not has_digest(path)]
            if (logs or old) and is_worth_it(logs):
                _seal(folder, logs, old)


def _seal(folder: Path, logs: list[Path], old: list[Path]) -> None:
    """Merge these logs, these `old` sealed files, and the sealed files that are small beside them."""
    size = sum(path.stat().st_size for path in logs)
    logs = sorted(path.rename(path.with_suffix(".sealing")) for path in logs)
    small, gathered = [*old], size // _ZSTD_RATIO
    for path in sorted(folder.glob("*.parquet"), key=lambda path: path.stat().st_size):
        if path not in old and path.stat().st_size <= max(_SMALL_BYTES, 2 * gathered):
            small.append(path)
            gathered += path.stat().st_size
    files: list[File] = [*map(SealedFile, small), *map(Log, logs)]
    try:
        _write(folder, files)
    finally:
        close_files(files)
    for path in (*logs, *small):
        path.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove the files that a killed process has left: unfinished ones, and those merged into a sealed file."""
    for path in folder.glob("*.part"):
        path.unlink(missing_ok=True)
    sealed = [SealedFile(path) for path in folder.glob("*.parquet")]
    close_files(sealed)
    for name in {name for file in sealed for name in file.made_from}:
        for suffix in (".jsonl", ".sealing", ".parquet"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _is_old(path: Path, now: float) -> bool:
    return now - path.stat().st_mtime > STALE_SECONDS


def _is_dead(path: Path, now: float, locks: contextlib.ExitStack) -> bool:
    """Return whether a log has no writer: by the heartbeat on any host, and by the lock, if there are locks.

    `locks` then holds the lock.
    """
    if not _is_old(path, now):
        return False
    file = locks.enter_context(path.open("r+b"))  # writable, which NFS demands for an exclusive lock
    return flock(file.fileno()) is not False


def _write(folder: Path, files: list[File]) -> None:
    """Write the records of `files` to a new sealed file, which names them. Its own name is from its digest."""
    part = folder / f"{secrets.token_hex(8)}.part"
    made_from = json.dumps([file.path.stem for file in files])
    schema = SCHEMA.with_metadata({"made_from": made_from, "checksums": "pages"})  # read by older versions
    with pq.ParquetWriter(
        part,
        schema,
        compression="zstd",
        use_dictionary=DICTIONARY_COLUMNS,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        for file in files:
            for table in file.tables():
                writer.write_table(table.replace_schema_metadata(schema.metadata))
    move(part, folder / f"{name_of(part)}.parquet")
