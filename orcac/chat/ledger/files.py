"""The ledger's files: logs, which are written line by line, and the Parquet files into which dead logs are sealed.

This module opens them. `log` and `sealed` read one kind each; `ledger` writes logs, `sealing` seals them.

    HOST-PID-RANDOM.jsonl     a log: one writer, which holds a lock on it and touches it while it lives
    HOST-PID-RANDOM.sealing   a log whose writer is dead, while it is being sealed
    DIGEST.parquet            sealed records, in the order in which they were written; names the files that went into it

A kill in the middle of a write leaves a log's last line without its end. That line was never acknowledged; it is
skipped, and is gone once the log is sealed. A line of JSON that is not a record (a field is missing, of another type or
out of bounds) is skipped, and its question is asked again. A line that is not JSON, or does not match its checksum, is
damage: reading it raises an error with its place. The pages of a sealed file have checksums as well, and its name is
the beginning of its own sha256, 32 hex digits. Older sealed files have names of 16 random ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from orcac.chat.ledger.forgotten import check_forgotten
from orcac.chat.ledger.log import Log
from orcac.chat.ledger.record import Record
from orcac.chat.ledger.sealed import DamagedFileError, SealedFile
from orcac.errors import StoreError
from orcac.store.links import refuse_links

File = Log | SealedFile


def allow_many_files() -> None:
    """Raise this process's limit on open files, 1,024 on most systems (macOS: 256), as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports 10,240 as infinite; the field `file` of ENTRY has room for 65,536.
    most = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def open_files(folder: Path) -> list[File]:
    """Open all files of the ledger, such that each record is in one of them. A file may lose its name while it is read.

    Raises StoreError if there are more than this process may open, if a sealed file is damaged, or if the folder is or
    holds a link.
    """
    allow_many_files()
    refuse_links(folder)
    while True:
        files: list[File] = []
        try:
            for path in sorted(folder.glob("*.parquet")):
                files.append(SealedFile(path))
            sealed = {name for file in files if isinstance(file, SealedFile) for name in file.made_from}
            for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.sealing"))):
                if path.stem not in sealed:
                    files.append(Log(path))
            is_settled = {path.name for path in folder.glob("*.parquet")} == {
                file.path.name for file in files if isinstance(file, SealedFile)
            }
        except FileNotFoundError:
            is_settled = False
        except OSError as error:
            close_files(files)
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            count = sum(1 for _ in folder.iterdir())
            raise StoreError(
                f"{folder}: its {count:,} files are more than this process may open ({os.strerror(error.errno)})",
                fix=f"raise the limit, `ulimit -Hn {3 * count}` as root, and run again: old logs then become one file",
            ) from error
        if not is_settled:  # logs were sealed between two listings
            close_files(files)
            continue
        for file in [file for file in files if isinstance(file, SealedFile) and file.path.stem in sealed]:
            files.remove(file)
            file.close()
        return files


def close_files(files: Iterable[File]) -> None:
    for file in files:
        file.close()


def read_records(folder: Path, wanted: Container[str] | None = None) -> Iterator[Record]:
    """Yield the records in `folder` with `wanted` keys (hex digits; None: all), file by file.

    Raises StoreError, with file and line, if one is damaged.
    """
    files = open_files(folder)
    try:
        for file in files:
            yield from file.records(wanted)
    finally:
        close_files(files)


class CheckedRecords(NamedTuple):
    """The state of all records: the numbers of sound ones and of those without a checksum, and the damage."""

    sound: int
    unverifiable: int
    damaged: list[StoreError]


def check_records(folder: Path) -> CheckedRecords:
    """Compare all records in `folder`, and the forgotten ones, with their checksums.

    Raises StoreError if the folder is or holds a link.
    """
    try:
        files = open_files(folder)
    except DamagedFileError as error:
        return CheckedRecords(0, 0, [error])
    try:
        found = [file.count_checked() for file in files]
    finally:
        close_files(files)
    found.append(check_forgotten(folder))
    return CheckedRecords(
        sum(sound for sound, _, _ in found),
        sum(unverifiable for _, unverifiable, _ in found),
        [error for *_, damaged in found for error in damaged],
    )
