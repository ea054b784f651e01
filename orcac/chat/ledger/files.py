"""The files of the ledger: logs that are written line by line, and the Parquet files that dead logs are sealed into.

This module reads them, and says how a record stands in either; `ledger` writes logs, `sealing` seals them.

    HOST-PID-RANDOM.jsonl     a log: one writer, which holds a lock on it and touches it while it lives
    HOST-PID-RANDOM.sealing   a log whose writer is dead, while it is being sealed
    RANDOM.parquet            sealed records, in the order in which they were written; names the files that went into it

A kill in the middle of a write leaves a log's last line without its end. It is skipped, and gone when the log is
sealed; it was never acknowledged. A line of JSON that is no record (a field is missing, of another type, or out of all
bounds), whoever wrote it, is skipped, too: its question is asked again. A line that is no JSON is damage, and is named.

Sealed records stand in the order of time and not of their keys: what was asked together is read together, mostly in
the order in which it is wanted, and the columns that the index needs are 50 bytes a record, read in a second for a
million. A lookup goes by the index, so a sorted file would save nothing.
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
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.chat.keys import KEY_VERSION
from orcac.chat.ledger.keys import Keys, contained, named
from orcac.chat.ledger.record import CODES, RESPONSE, Foreign, Record, cap_of, facts_of, parsed, response_of
from orcac.chat.messages import ChatResponse, served_caps
from orcac.chat.wire import dumps, loads
from orcac.errors import StoreError
from orcac.rows import batched

R = TypeVar("R", pa.Table, pa.RecordBatch)

FACTS = np.dtype(
    [
        ("low", "i4"),  # the caps that it serves
        ("high", "i4"),
        ("input_tokens", "i4"),
        ("output_tokens", "i4"),
        ("failure", "u1"),  # a place in FAILURES
        ("batched", "?"),
        ("file", "u2"),  # which of the open files
        ("place", "i8"),  # byte offset in a log, number of the row in a sealed file
    ]
)
_START = b'{"key":"'
_KEY = slice(len(_START), len(_START) + 32)  # where a key stands in its line
_BLOCK = 2048  # records that are looked at together, and rows of a row group
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
_INDEX = ["key", "low", "high", "at", "input_tokens", "output_tokens", "error", "batched"]
WORDS = ["model", "origin", "sampling", "finish_reason", "error"]  # that few values stand for


class Index(NamedTuple):
    """Of some records of one file, in its order."""

    names: npt.NDArray[Any]  # of the keys, as `named` makes them
    at: npt.NDArray[np.float64]  # when they were written, in seconds since 1970
    facts: npt.NDArray[Any]  # FACTS


class Log:
    """A log that is open for reading."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY) if descriptor is None else descriptor

    def index(self, wanted: Keys | None) -> Iterator[Index]:
        """The records of `wanted` keys, in blocks."""
        for block in batched(self._lines(), _BLOCK):
            found: list[tuple[bytes, float, tuple[Any, ...]]] = []
            for place, number, line in self._chosen(block, wanted):
                record = self._record(number, line)  # one at a time: texts that are kept cost more than to parse them
                if record is not None:
                    facts = facts_of(cap_of(record), response_of(record))
                    found.append((bytes.fromhex(record["key"]), record["at"], (*facts, 0, place)))
            keys = np.array([key for key, _, _ in found], "S16")
            names, keep = named(keys, wanted)
            at, every = np.array([at for _, at, _ in found]), np.array([facts for _, _, facts in found], FACTS)
            yield Index(names, at[keep], every[keep])

    def responses(self, places: npt.NDArray[Any]) -> Iterator[ChatResponse]:
        """The responses at ascending offsets."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            for place in map(int, places):
                file.seek(place)
                record = self._record(None, file.readline())
                assert record is not None, self.path
                yield response_of(record)

    def records(self, wanted: Container[str] | None = None) -> Iterator[Record]:
        for _, number, line in self._lines():
            of_now = line.startswith(_START) and line[_KEY.stop : _KEY.stop + 1] == b'"'
            if wanted is not None and of_now and line[_KEY].decode("ascii", "replace") not in wanted:
                continue
            record = self._record(number, line)
            if record is not None and (wanted is None or record["key"] in wanted):
                yield record

    def tables(self) -> Iterator[pa.Table]:
        """The records as a sealed file holds them."""
        for block in batched(self.records(), _BLOCK):
            yield pa.Table.from_pylist([_row(record) for record in block], schema=SCHEMA)

    def since(self, place: int) -> Iterator[tuple[int, Record]]:
        """(the offset behind it, record) of what was written from offset `place` on, the start of a line."""
        for start, _, line in self._lines(place):
            record = self._record(None, line)
            if record is not None:
                yield start + len(line), record

    def end(self) -> int:
        """The offset behind the last complete line."""
        return max((place + len(line) for place, _, line in self._lines()), default=0)

    def close(self) -> None:
        os.close(self.descriptor)

    def _lines(self, place: int = 0) -> Iterator[tuple[int, int, bytes]]:
        """(offset, number, line) of the complete lines from offset `place` on."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(place)
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # torn: a kill in the middle of a write, or a write under way
                yield place, number, line
                place += len(line)

    def _chosen(self, block: list[tuple[int, int, bytes]], wanted: Keys | None) -> list[tuple[int, int, bytes]]:
        """Those that may be wanted: where the key does not stand in its place, the record must be parsed."""
        if wanted is None:
            return block
        with contextlib.suppress(ValueError):
            if all(line.startswith(_START) and line[_KEY.stop : _KEY.stop + 1] == b'"' for _, _, line in block):
                digits = b"".join(line[_KEY] for _, _, line in block)
                keys = np.frombuffer(bytes.fromhex(digits.decode("ascii")), "S16")
                return [entry for entry, keep in zip(block, contained(keys, wanted), strict=True) if keep]
        return block

    def _record(self, number: int | None, line: bytes) -> Record | None:
        try:
            return parsed(line)
        except Foreign:
            return None
        except ValueError as error:
            where = self.path if number is None else f"{self.path}:{number}"
            raise StoreError(
                f"{where}: the record is damaged", fix="delete that line; its question will be asked again"
            ) from error


class Sealed:
    """A sealed file that is open for reading. Arrow's compute functions are left alone: to load them takes 45 MB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._source = pa.OSFile(str(path), "rb")
            self._file = pq.ParquetFile(self._source, pre_buffer=False)  # else it keeps all that was ever read
        except pa.ArrowInvalid as error:
            raise self._damaged(error) from error
        self.made_from: list[str] = json.loads((self._file.schema_arrow.metadata or {}).get(b"made_from", b"[]"))
        counts = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts, dtype=np.int64)  # of the row groups

    def index(self, wanted: Keys | None) -> Iterator[Index]:
        first = 0
        for batch in self._batches(_INDEX, 8 * _BLOCK):
            keys = np.frombuffer(batch.column("key").buffers()[1], "S16")[batch.column("key").offset :][: len(batch)]
            names, wanted_ones = named(keys, wanted)
            keep = np.flatnonzero(wanted_ones)
            facts = np.zeros(len(keep), FACTS)
            for name in ("low", "high", "input_tokens", "output_tokens"):
                facts[name] = batch.column(name).to_numpy()[keep]
            failures = np.fromiter(map(CODES.__getitem__, batch.column("error").to_pylist()), "u1", len(batch))
            facts["failure"] = failures[keep]
            facts["batched"] = batch.column("batched").to_numpy(zero_copy_only=False)[keep]
            facts["place"] = keep + first
            first += len(batch)
            yield Index(names, batch.column("at").to_numpy()[keep], facts)

    def responses(self, places: npt.NDArray[Any]) -> Iterator[ChatResponse]:
        """The responses of ascending rows."""
        bounds = np.searchsorted(places, [0, *self._ends])
        for group, (first, last) in enumerate(pairwise(bounds.tolist())):
            if first == last:
                continue
            start = self._ends[group - 1] if group else 0
            table = self._group(group, list(RESPONSE))
            columns = [table.column(name).to_pylist() for name in RESPONSE]
            for row in map(int, places[first:last] - start):
                yield ChatResponse(**{name: values[row] for name, values in zip(RESPONSE, columns, strict=True)})

    def records(self, wanted: Container[str] | None = None) -> Iterator[Record]:
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
                    "response": {name: row[name] for name in RESPONSE},
                }

    def tables(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield self._group(group, SCHEMA.names)

    def close(self) -> None:
        self._file.close()
        self._source.close()

    def _batches(self, columns: list[str] | None, size: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._file.iter_batches(batch_size=size, columns=columns, use_threads=False):
                yield _with_all(batch, columns or SCHEMA.names)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error

    def _group(self, group: int, columns: list[str]) -> pa.Table:
        try:
            return _with_all(self._file.read_row_group(group, columns=columns, use_threads=False), columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path}: the file is damaged ({str(error).splitlines()[0]})",
            fix="restore it from a copy, or remove it: what it holds will be asked again",
        )


def _with_all(rows: R, columns: list[str]) -> R:
    """`rows` with those of the columns, at their values of an empty response, that an older file does not have."""
    for name in columns:
        if name not in rows.schema.names:
            rows = rows.append_column(name, pa.repeat(getattr(_EMPTY, name), len(rows)))
    return rows


File = Log | Sealed


def allow_many_files() -> None:
    """Let this process open more files than the 1,024 (macOS: 256) of most systems, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What macOS calls infinite is 10,240; FACTS numbers 65,536.
    most = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def opened(folder: Path) -> list[File]:
    """Every file of the ledger, open, each record in one of them; its name may be gone by the time it is read.

    Raises StoreError where there are more than this process may open.
    """
    allow_many_files()
    while True:
        files: list[File] = []
        try:
            for path in sorted(folder.glob("*.parquet")):
                files.append(Sealed(path))
            sealed = {name for file in files if isinstance(file, Sealed) for name in file.made_from}
            for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.sealing"))):
                if path.stem not in sealed:
                    files.append(Log(path))
            settled = {path.name for path in folder.glob("*.parquet")} == {
                file.path.name for file in files if isinstance(file, Sealed)
            }
        except FileNotFoundError:
            settled = False
        except OSError as error:
            close(files)
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            count = sum(1 for _ in folder.iterdir())
            raise StoreError(
                f"{folder}: its {count:,} files are more than this process may open ({os.strerror(error.errno)})",
                fix=f"raise the limit, `ulimit -Hn {3 * count}` as root, and run again: old logs then become one file",
            ) from error
        if not settled:  # something was sealed between two looks
            close(files)
            continue
        for file in [file for file in files if isinstance(file, Sealed) and file.path.stem in sealed]:
            files.remove(file)
            file.close()
        return files


def close(files: Iterable[File]) -> None:
    for file in files:
        file.close()


def records(folder: Path, wanted: Container[str] | None = None) -> Iterator[Record]:
    """The records in `folder`, file by file; those of `wanted` keys (hex digits) alone, or all.

    Raises StoreError naming file and line where one is damaged.
    """
    files = opened(folder)
    try:
        for file in files:
            yield from file.records(wanted)
    finally:
        close(files)


def _row(record: Record) -> Record:
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
        "messages": dumps(request["messages"]).decode(),  # as bytes each would keep room to grow
        **{name: response[name] for name in RESPONSE},
    }


_EMPTY = ChatResponse()
