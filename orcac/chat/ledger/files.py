"""The ledger's files: logs, which are written line by line, and the Parquet files into which dead logs are sealed.

This module reads both kinds and defines how a record is stored in each; `ledger` writes logs, `sealing` seals them.

    HOST-PID-RANDOM.jsonl     a log: one writer, which holds a lock on it and touches it while it lives
    HOST-PID-RANDOM.sealing   a log whose writer is dead, while it is being sealed
    RANDOM.parquet            sealed records, in the order in which they were written; names the files that went into it

A kill in the middle of a write leaves a log's last line without its end. That line was never acknowledged; it is
skipped, and is gone once the log is sealed. A line of JSON that is not a record (a field is missing, of another type or
out of bounds) is skipped whoever wrote it, and its question is asked again. A line that is not JSON is damage, and the
error gives its place.

Sealed records are ordered by time and not by key: questions that were asked together are read together, mostly in the
order in which they are wanted. The columns that the index needs take 50 bytes a record, and a million are read in a
second. Lookups go through the index, so a file sorted by key would save nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
from collections.abc import Container, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.chat.keys import KEY_VERSION
from orcac.chat.ledger.keys import CompactKeys, Keys, compact_keys, isin
from orcac.chat.ledger.record import (
    FAILURE_CODES,
    RESPONSE_FIELDS,
    EntryValues,
    NotARecord,
    Record,
    cap_of,
    entry_of,
    parse_record,
    response_of,
)
from orcac.chat.messages import ChatResponse, served_caps
from orcac.chat.wire import dumps, loads
from orcac.errors import StoreError
from orcac.rows import batched

R = TypeVar("R", pa.Table, pa.RecordBatch)
Positions = npt.NDArray[np.int64]  # of records in one file: byte offsets in a log, row numbers in a sealed file
Entries = npt.NDArray[np.void]  # of dtype ENTRY

ENTRY = np.dtype(
    [
        ("low", "i4"),  # the smallest max_tokens that the record serves
        ("high", "i4"),  # and the largest
        ("input_tokens", "i4"),
        ("output_tokens", "i4"),
        ("failure", "u1"),  # an index of FAILURES
        ("batched", "?"),
        ("file", "u2"),  # an index of the open files
        ("position", "i8"),  # byte offset in a log, row number in a sealed file
    ]
)
_KEY_START = b'{"key":"'
_KEY = slice(len(_KEY_START), len(_KEY_START) + 32)  # of a line: its key
_BLOCK = 2048  # records that are processed together, and rows of a row group
SCHEMA = pa.schema(
    [
        ("key", pa.binary(16)),
        ("low", pa.int32()),
        ("high", pa.int32()),
        ("at", pa.float64()),
        ("model", pa.string()),
        ("origin", pa.string()),
        ("sample_index", pa.int32()),
        ("sampling", pa.string()),  # JSON
        ("messages", pa.string()),  # JSON: [[role, content], ...]
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("input_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("latency_s", pa.float64()),
        ("error", pa.string()),
        ("batched", pa.bool_()),  # absent from older files
    ]
)
_INDEX_COLUMNS = ["key", "low", "high", "at", "input_tokens", "output_tokens", "error", "batched"]
DICTIONARY_COLUMNS = ["model", "origin", "sampling", "finish_reason", "error"]  # they hold few distinct values


class IndexBlock(NamedTuple):
    """The index of some records of one file, in the file's order."""

    keys: CompactKeys
    at: npt.NDArray[np.float64]  # when each was written, in seconds since 1970
    entries: Entries  # `file` is not set


_Line = tuple[int, int, bytes]  # (offset, number, content); a named tuple takes ten times as long to make


class Log:
    """A log, open for reading."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY) if descriptor is None else descriptor

    def index(self, wanted: Keys | None) -> Iterator[IndexBlock]:
        """Yield the index of the records with `wanted` keys (sorted; None: all), in blocks. Raises StoreError."""
        for block in batched(self._lines(), _BLOCK):
            digests: list[bytes] = []
            times: list[float] = []
            values: list[tuple[*EntryValues, int, int]] = []
            for offset, number, line in self._select(block, wanted):
                record = self._parse(line, number)  # one by one: to keep a block's texts costs more than to parse them
                if record is not None:
                    digests.append(bytes.fromhex(record["key"]))
                    times.append(record["at"])
                    values.append((*entry_of(cap_of(record), response_of(record)), 0, offset))
            keys, mask = compact_keys(np.array(digests, "S16"), wanted)
            yield IndexBlock(keys, np.array(times)[mask], np.array(values, ENTRY)[mask])

    def responses(self, positions: Positions) -> Iterator[ChatResponse]:
        """Yield the responses at ascending offsets."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            for offset in map(int, positions):
                file.seek(offset)
                record = self._parse(file.readline())
                assert record is not None, self.path
                yield response_of(record)

    def records(self, wanted: Container[str] | None = None) -> Iterator[Record]:
        """Yield the records with `wanted` keys (hex digits; None: all). Raises StoreError at a damaged line."""
        for _, number, line in self._lines():
            if wanted is not None and _has_key(line) and line[_KEY].decode("ascii", "replace") not in wanted:
                continue
            record = self._parse(line, number)
            if record is not None and (wanted is None or record["key"] in wanted):
                yield record

    def tables(self) -> Iterator[pa.Table]:
        """Yield the records as tables of SCHEMA."""
        for block in batched(self.records(), _BLOCK):
            yield pa.Table.from_pylist([_row_of(record) for record in block], schema=SCHEMA)

    def read_from(self, offset: int) -> Iterator[tuple[int, Record]]:
        """Yield (end, record) for each record from `offset` on, a line start; `end` is the offset behind the record."""
        for start, _, line in self._lines(offset):
            record = self._parse(line)
            if record is not None:
                yield start + len(line), record

    def find_end(self) -> int:
        """Return the offset behind the last complete line."""
        return max((offset + len(line) for offset, _, line in self._lines()), default=0)

    def close(self) -> None:
        os.close(self.descriptor)

    def _lines(self, offset: int = 0) -> Iterator[_Line]:
        """Yield the complete lines from `offset` on."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(offset)
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # torn: a kill in the middle of a write, or a write under way
                yield offset, number, line
                offset += len(line)

    def _select(self, block: list[_Line], wanted: Keys | None) -> list[_Line]:
        """Return the lines that may have a wanted key: all of them if a line does not begin with its key."""
        if wanted is None:
            return block
        with contextlib.suppress(ValueError):
            if all(_has_key(line) for _, _, line in block):
                digits = b"".join(line[_KEY] for _, _, line in block)
                keys = np.frombuffer(bytes.fromhex(digits.decode("ascii")), "S16")
                return [entry for entry, keep in zip(block, isin(keys, wanted), strict=True) if keep]
        return block

    def _parse(self, line: bytes, number: int | None = None) -> Record | None:
        """Return the record in a line, None if it is not one. Raises StoreError, with the number, if it is not JSON."""
        try:
            return parse_record(line)
        except NotARecord:
            return None
        except ValueError as error:
            where = self.path if number is None else f"{self.path}:{number}"
            raise StoreError(
                f"{where}: the record is damaged", fix="delete that line; its question will be asked again"
            ) from error


class SealedFile:
    """A sealed file, open for reading. Arrow's compute functions are not used: loading them takes 45 MB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._source = pa.OSFile(str(path), "rb")
            self._file = pq.ParquetFile(self._source, pre_buffer=False)  # with a buffer it keeps all that was ever read
        except pa.ArrowInvalid as error:
            raise self._damaged(error) from error
        self.made_from: list[str] = json.loads((self._file.schema_arrow.metadata or {}).get(b"made_from", b"[]"))
        counts = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts, dtype=np.int64)  # of the row groups

    def index(self, wanted: Keys | None) -> Iterator[IndexBlock]:
        """Yield the index of the records with `wanted` keys (sorted; None: all), in blocks. Raises StoreError."""
        first = 0
        for batch in self._batches(_INDEX_COLUMNS, 8 * _BLOCK):
            digests = np.frombuffer(batch.column("key").buffers()[1], "S16")[batch.column("key").offset :][: len(batch)]
            keys, mask = compact_keys(digests, wanted)
            keep = np.flatnonzero(mask)
            entries = np.zeros(len(keep), ENTRY)
            for name in ("low", "high", "input_tokens", "output_tokens"):
                entries[name] = batch.column(name).to_numpy()[keep]
            failures = map(FAILURE_CODES.__getitem__, batch.column("error").to_pylist())
            entries["failure"] = np.fromiter(failures, "u1", len(batch))[keep]
            entries["batched"] = batch.column("batched").to_numpy(zero_copy_only=False)[keep]
            entries["position"] = keep + first
            first += len(batch)
            yield IndexBlock(keys, batch.column("at").to_numpy()[keep], entries)

    def responses(self, positions: Positions) -> Iterator[ChatResponse]:
        """Yield the responses at ascending row numbers."""
        bounds = np.searchsorted(positions, [0, *self._ends])
        for group, (first, last) in enumerate(pairwise(bounds.tolist())):
            if first == last:
                continue
            start = self._ends[group - 1] if group else 0
            table = self._row_group(group, list(RESPONSE_FIELDS))
            columns = [table.column(name).to_pylist() for name in RESPONSE_FIELDS]
            for row in map(int, positions[first:last] - start):
                yield ChatResponse(**{name: values[row] for name, values in zip(RESPONSE_FIELDS, columns, strict=True)})

    def records(self, wanted: Container[str] | None = None) -> Iterator[Record]:
        """Yield the records with `wanted` keys (hex digits; None: all). Raises StoreError if the file is damaged."""
        for batch in self._batches(None, _BLOCK):
            slices = [batch]
            if wanted is not None:
                keys = batch.column("key").to_pylist()
                slices = [batch.slice(n, 1) for n, key in enumerate(keys) if key.hex() in wanted]
            for row in (row for some in slices for row in some.to_pylist()):
                yield {
                    "key": row["key"].hex(),
                    "key_version": KEY_VERSION,
                    "at": row["at"],
                    "request": {
                        "model": row["model"],
                        "messages": loads(row["messages"]),
                        "sampling": loads(row["sampling"]),
                        "origin": row["origin"],
                        "sample_index": row["sample_index"],
                    },
                    "response": {
                        "text": row["text"],
                        "finish_reason": row["finish_reason"],
                        "input_tokens": row["input_tokens"],
                        "output_tokens": row["output_tokens"],
                        "latency_s": row["latency_s"],
                        "error": row["error"],
                        "batched": row["batched"],
                    },
                }

    def tables(self) -> Iterator[pa.Table]:
        """Yield the records as tables of SCHEMA."""
        for group in range(self._file.num_row_groups):
            yield self._row_group(group, SCHEMA.names)

    def close(self) -> None:
        self._file.close()
        self._source.close()

    def _batches(self, columns: list[str] | None, size: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._file.iter_batches(batch_size=size, columns=columns, use_threads=False):
                yield _add_missing_columns(batch, columns or SCHEMA.names)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error

    def _row_group(self, group: int, columns: list[str]) -> pa.Table:
        try:
            table = self._file.read_row_group(group, columns=columns, use_threads=False)
            return _add_missing_columns(table, columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path}: the file is damaged ({str(error).splitlines()[0]})",
            fix="restore it from a copy, or remove it: its questions will be asked again",
        )


def _has_key(line: bytes) -> bool:
    """Return whether a log line begins with a key of this version, so that it need not be parsed to compare the key."""
    return line.startswith(_KEY_START) and line[_KEY.stop : _KEY.stop + 1] == b'"'


def _add_missing_columns(rows: R, columns: list[str]) -> R:
    """Return `rows` with all of `columns`; those that an older file lacks hold the values of an empty response."""
    for name in columns:
        if name not in rows.schema.names:
            rows = rows.append_column(name, pa.repeat(getattr(_EMPTY_RESPONSE, name), len(rows)))
    return rows


File = Log | SealedFile


def allow_many_files() -> None:
    """Raise this process's limit on open files, 1,024 on most systems (macOS: 256), as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What macOS calls infinite is 10,240; the field `file` of ENTRY has room for 65,536.
    most = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def open_files(folder: Path) -> list[File]:
    """Open all files of the ledger, such that each record is in one of them. A file may lose its name while it is read.

    Raises StoreError if there are more than this process may open, or if a sealed file is damaged.
    """
    allow_many_files()
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


def _row_of(record: Record) -> dict[str, object]:
    """Return a record as a row of SCHEMA."""
    low, high = served_caps(cap_of(record), response_of(record))
    request, response = record["request"], record["response"]
    return {
        "key": bytes.fromhex(record["key"]),
        "low": low,
        "high": high,
        "at": record["at"],
        "model": request["model"],
        "origin": request["origin"],
        "sample_index": request["sample_index"],
        "sampling": dumps(request["sampling"]).decode(),
        "messages": dumps(request["messages"]).decode(),  # as bytes, each would keep room to grow
        **response,
    }


_EMPTY_RESPONSE = ChatResponse()
