"""A log, open for reading: records in JSON Lines, one writer (`files` describes the name and the end of a log)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from orcac.chat.ledger.entry import ENTRY, EntryValues, IndexBlock, Positions, entry_of
from orcac.chat.ledger.keys import Keys, compact_keys, isin
from orcac.chat.ledger.record import (
    RECORD_FIELDS,
    NotARecord,
    Record,
    cap_of,
    parse_record,
    response_of,
)
from orcac.chat.ledger.sealed import SCHEMA, row_of
from orcac.chat.messages import ChatResponse, separate_reasoning
from orcac.errors import StoreError
from orcac.rows import batched
from orcac.store.checksum import has_checksum, matches_checksum

_KEY_START = b'{"key":"'
_KEY = slice(len(_KEY_START), len(_KEY_START) + 32)  # the place of the key in a line
_BLOCK = 2048  # records that are processed together, and rows of a row group of the sealed file
_Line = tuple[int, int, bytes]  # (offset, number, content); a named tuple takes ten times as long to make


class Log:
    """A log, open for reading."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY) if descriptor is None else descriptor

    def index(self, wanted: Keys | None) -> Iterator[IndexBlock]:
        """Yield the index of the records with `wanted` keys (sorted; None: all), in blocks.

        Raises StoreError at a damaged line.
        """
        for block in batched(self._lines(), _BLOCK):
            digests: list[bytes] = []
            times: list[float] = []
            values: list[tuple[*EntryValues, int, int]] = []
            for offset, number, line in self._select(block, wanted):
                # one at a time, because holding the texts of a whole block costs more than parsing them
                record = self._parse(line, number)
                if record is not None:
                    digests.append(bytes.fromhex(record["key"]))
                    times.append(record["at"])
                    values.append((*entry_of(cap_of(record), response_of(record)), 0, offset))
            keys, mask = compact_keys(np.array(digests, "S16"), wanted)
            yield IndexBlock(keys, np.array(times)[mask], np.array(values, ENTRY)[mask])

    def responses(self, positions: Positions) -> Iterator[ChatResponse]:
        """Yield the responses at ascending offsets, with the reasoning separated."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            for offset in map(int, positions):
                file.seek(offset)
                record = self._parse(file.readline())
                assert record is not None, self.path
                yield separate_reasoning(response_of(record))

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
            yield pa.Table.from_pylist([row_of(record) for record in block], schema=SCHEMA)

    def count_checked(self) -> tuple[int, int, list[StoreError]]:
        """Return the numbers of records that match their checksum and that have none, and errors for the damaged.

        A line without a checksum that has a field which no version writes has a damaged checksum. So has an unfinished
        last line that is a whole record but for its line end.
        """
        sound = unverifiable = 0
        damaged: list[StoreError] = []
        number = 0
        for _, number, line in self._lines():
            is_checked = has_checksum(line)
            try:
                record = self._parse(line, number)
            except StoreError as error:
                damaged.append(error)
                continue
            if record is None and is_checked:
                damaged.append(self._damage(number, "it has an impossible field"))
            elif record is not None and not is_checked and record.keys() - RECORD_FIELDS:
                damaged.append(self._damage(number, "it has an unknown field in the place of its checksum"))
            elif record is not None:
                sound, unverifiable = sound + is_checked, unverifiable + (not is_checked)
        if matches_checksum(self._read_tail()[:-1] + b"\n"):
            damaged.append(self._damage(number + 1, "its line end is damaged"))
        return sound, unverifiable, damaged

    def _read_tail(self) -> bytes:
        """Return what follows the last line end."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(self.find_end())
            return file.read()

    def _damage(self, number: int | None, reason: str) -> StoreError:
        where = self.path if number is None else f"{self.path}:{number}"
        fix = "delete that line; its question will be asked again"
        return StoreError(f"{where}: the record is damaged ({reason})", fix=fix)

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
            raise self._damage(number, str(error)) from error


def _has_key(line: bytes) -> bool:
    """Return whether a log line begins with a key of this version, so that it need not be parsed to compare the key."""
    return line.startswith(_KEY_START) and line[_KEY.stop : _KEY.stop + 1] == b'"'
