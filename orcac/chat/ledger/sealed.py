"""A sealed file, open for reading: records in Parquet, in the order of time.

They are not ordered by key: questions that were asked together are read together, mostly in the order in which they are
wanted. The columns that the index needs take 50 bytes a record, and a million are read in a second. Lookups go through
the index, so a file sorted by key would save nothing.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.chat.keys import KEY_VERSION
from orcac.chat.ledger.entry import ENTRY, IndexBlock, Positions
from orcac.chat.ledger.keys import Keys, compact_keys
from orcac.chat.ledger.record import FAILURE_CODES, STORED_FIELDS, Record, cap_of, response_of
from orcac.chat.messages import ChatResponse, separate_reasoning, served_caps
from orcac.chat.wire import dumps, loads
from orcac.digest import file_digest
from orcac.errors import StoreError

R = TypeVar("R", pa.Table, pa.RecordBatch)

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
        ("omitted", pa.string()),  # names with spaces between them; absent from older files
        ("reasoning", pa.string()),  # absent from older files
        ("refusal", pa.string()),  # absent from older files
    ]
)
_INDEX_COLUMNS = ["key", "low", "high", "at", "input_tokens", "output_tokens", "error", "batched"]
DICTIONARY_COLUMNS = [
    "model",
    "origin",
    "sampling",
    "finish_reason",
    "error",
    "omitted",
    "refusal",
]  # they hold few distinct values
_DIGITS = 32  # of the digest in a file's name
_LARGEST_GROUP = 4 << 30  # bytes of a row group once decompressed, by its own statement: a reader holds one in memory
_BATCH = 2048  # rows that are read together; of the index columns alone, eight times as many
_MISSING = {
    "batched": False,
    "omitted": "",
    "reasoning": "",
    "refusal": "",
}  # the values of columns that older files lack


class DamagedFileError(StoreError):
    """A sealed file that cannot be read."""


class SealedFile:
    """A sealed file, open for reading. Arrow's compute functions are not used: loading them takes 45 MB.

    opened: the file, if it is not on this machine; `path` is then its name. Raises DamagedFileError, also from its
    methods.
    """

    def __init__(self, path: Path, opened: BinaryIO | None = None) -> None:
        self.path = path
        try:
            self._source = pa.OSFile(str(path), "rb") if opened is None else pa.PythonFile(opened, "r")
            # with a buffer it keeps all that was ever read
            self._file = pq.ParquetFile(self._source, pre_buffer=False, page_checksum_verification=True)
            metadata = self._file.schema_arrow.metadata or {}
            self.made_from: list[str] = json.loads(metadata.get(b"made_from", b"[]"))
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._damage_error(error) from error
        self._check_columns()
        groups = [self._file.metadata.row_group(n) for n in range(self._file.num_row_groups)]
        if any(group.total_byte_size > _LARGEST_GROUP for group in groups):
            raise self._damage_error(ValueError("a part of it is larger than 4 GiB"))
        counts = [group.num_rows for group in groups]
        self._ends = np.cumsum(counts, dtype=np.int64)  # of the row groups

    def _check_columns(self) -> None:
        """Raise DamagedFileError if a column is missing that a file of its age has, or has another type."""
        found = {field.name: field.type for field in self._file.schema_arrow}
        for field in SCHEMA:
            if field.name not in found and (has_digest(self.path) or field.name not in _MISSING):
                raise self._damage_error(ValueError(f"it has no column `{field.name}`"))
            if found.get(field.name, field.type) != field.type:
                raise self._damage_error(ValueError(f"its column `{field.name}` has another type"))

    def index(self, wanted: Keys | None) -> Iterator[IndexBlock]:
        """Yield the index of the records with `wanted` keys (sorted; None: all), in blocks.

        Raises StoreError if the file is damaged.
        """
        first = 0
        for batch in self._batches(_INDEX_COLUMNS, 8 * _BATCH):
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
        """Yield the responses at ascending row numbers, with the reasoning separated."""
        bounds = np.searchsorted(positions, [0, *self._ends])
        for group, (first, last) in enumerate(pairwise(bounds.tolist())):
            if first == last:
                continue
            start = self._ends[group - 1] if group else 0
            table = self._read_row_group(group, [*STORED_FIELDS, "omitted"])
            columns = [table.column(name).to_pylist() for name in STORED_FIELDS]
            omitted = table.column("omitted").to_pylist()
            for row in map(int, positions[first:last] - start):
                fields = {name: values[row] for name, values in zip(STORED_FIELDS, columns, strict=True)}
                yield separate_reasoning(ChatResponse(**fields, omitted=tuple(omitted[row].split())))

    def records(self, wanted: Container[str] | None = None) -> Iterator[Record]:
        """Yield the records with `wanted` keys (hex digits; None: all). Raises StoreError if the file is damaged."""
        for batch in self._batches(None, _BATCH):
            slices = [batch]
            if wanted is not None:
                keys = batch.column("key").to_pylist()
                slices = [batch.slice(n, 1) for n, key in enumerate(keys) if key.hex() in wanted]
            for row in (row for some in slices for row in some.to_pylist()):
                record: Record = {
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
                if row["omitted"]:
                    record["omitted"] = row["omitted"].split()
                if row["reasoning"]:
                    record["reasoning"] = row["reasoning"]
                if row["refusal"]:
                    record["refusal"] = row["refusal"]
                yield record

    def count_checked(self) -> tuple[int, int, list[StoreError]]:
        """Return the numbers of records under a digest and under none, and the error if the file is damaged.

        An older file has no digest. Most of its pages have checksums, but not its headers.
        """
        if has_digest(self.path) and self.path.stem != name_of(self.path):
            return 0, 0, [self._damage_error(ValueError("its digest is not the one in its name"))]
        try:
            for _ in self._batches(None, _BATCH):
                pass
        except StoreError as error:
            return 0, 0, [error]
        rows = self._file.metadata.num_rows
        return (rows, 0, []) if has_digest(self.path) else (0, rows, [])

    def settled(self) -> Iterator[tuple[bytes, int]]:
        """Yield the key of each record, and the largest max_tokens that it serves. No other column is read."""
        for batch in self._batches(["key", "high"], 8 * _BATCH):
            yield from zip(batch.column("key").to_pylist(), batch.column("high").to_pylist(), strict=True)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the records as tables of SCHEMA."""
        for group in range(self._file.num_row_groups):
            yield self._read_row_group(group, SCHEMA.names)

    def close(self) -> None:
        self._file.close()
        self._source.close()

    def _batches(self, columns: list[str] | None, size: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._file.iter_batches(batch_size=size, columns=columns, use_threads=False):
                yield _add_missing_columns(batch, columns or SCHEMA.names)
        except (pa.ArrowException, OSError) as error:
            raise self._damage_error(error) from error

    def _read_row_group(self, group: int, columns: list[str]) -> pa.Table:
        try:
            table = self._file.read_row_group(group, columns=columns, use_threads=False)
            return _add_missing_columns(table, columns)
        except (pa.ArrowException, OSError) as error:
            raise self._damage_error(error) from error

    def _damage_error(self, error: Exception) -> DamagedFileError:
        return DamagedFileError(
            f"{self.path}: the file is damaged ({(str(error).splitlines() or [type(error).__name__])[0]})",
            fix="restore it from a copy, or remove it: its questions will be asked again",
        )


def name_of(path: Path) -> str:
    """Return the name, without its suffix, of a sealed file with the content of the file at `path`."""
    return file_digest(path)[:_DIGITS]


def has_digest(path: Path) -> bool:
    """Return whether a sealed file is named by its content; older ones have a shorter name by chance."""
    return len(path.stem) == _DIGITS


def _add_missing_columns(rows: R, columns: list[str]) -> R:
    """Return `rows` with all of `columns`; those that an older file lacks hold the values in _MISSING."""
    for name in columns:
        if name not in rows.schema.names:
            rows = rows.append_column(name, pa.repeat(_MISSING[name], len(rows)))
    return rows


def row_of(record: Record) -> dict[str, object]:
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
        "messages": dumps(request["messages"]).decode(),  # decoded, because `dumps` over-allocates its bytes
        **response,
        "omitted": " ".join(record.get("omitted", ())),
        "reasoning": record.get("reasoning", ""),
        "refusal": record.get("refusal", ""),
    }
