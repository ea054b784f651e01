"""Forgotten records: those that no longer settle a request, so that its question is asked again.

A record stays where it is, with the tokens that were paid for it. `forgotten/RANDOM.jsonl` in the ledger's folder names
forgotten ones, a line of `{"key", "at"}` each: a key and a time of writing identify a record wherever it is stored. A
line ends with a checksum, as those of a log do, unless an older version wrote it. A file appears whole. Older versions
of orcac do not read this folder, and so take the records for answers still.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orcac.chat.ledger.keys import Keys
from orcac.chat.wire import dumps
from orcac.errors import StoreError
from orcac.store.checksum import add_checksum, has_checksum, matches_checksum
from orcac.store.durable import replacing
from orcac.store.links import refuse_irregular

_FOLDER = "forgotten"
_ID = np.dtype([("key", "S16"), ("at", ">f8")])


class RecordId(NamedTuple):
    """The identity of a record."""

    key: str  # 32 hex digits
    at: float  # when it was written, in seconds since 1970


class Forgotten:
    """The records of `folder` that are forgotten, and `more`. Raises StoreError if a file is damaged."""

    def __init__(self, folder: Path, more: Collection[RecordId] = ()) -> None:
        self._ids = {one for path in sorted((folder / _FOLDER).glob("*.jsonl")) for one in _read(path)} | {*more}
        self._packed = _pack(
            np.array([bytes.fromhex(one.key) for one in self._ids], "S16"), np.array([one.at for one in self._ids])
        )

    def __bool__(self) -> bool:
        return bool(self._ids)

    def __iter__(self) -> Iterator[RecordId]:
        return iter(self._ids)

    def __contains__(self, record: RecordId) -> bool:
        return record in self._ids

    def keys_since(self, time: float) -> set[str]:
        """Return the keys of the forgotten records that were written at `time` or later, in seconds since 1970."""
        return {one.key for one in self._ids if one.at >= time}

    def find_left(self, keys: Keys, times: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return bool (keys,): which of the records with these keys and times are not forgotten."""
        return ~np.isin(_pack(keys, times), self._packed)


def forget(folder: Path, records: Collection[RecordId]) -> None:
    """Forget records of the ledger in `folder`, all or none of them."""
    path = folder / _FOLDER / f"{secrets.token_hex(8)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        for record in records:
            file.write(add_checksum(dumps(record._asdict())))


def check_forgotten(folder: Path) -> tuple[int, int, list[StoreError]]:
    """Return the numbers of lines that match their checksum and that have none, and an error for each damaged file."""
    sound = unverifiable = 0
    damaged: list[StoreError] = []
    for path in sorted((folder / _FOLDER).glob("*.jsonl")):
        try:
            count = sum(1 for _ in _read(path))
            checked = sum(map(has_checksum, path.read_bytes().splitlines(keepends=True)))
            sound, unverifiable = sound + checked, unverifiable + count - checked
        except StoreError as error:
            damaged.append(error)
    return sound, unverifiable, damaged


def _read(path: Path) -> Iterator[RecordId]:
    refuse_irregular(path)
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            record = json.loads(line)
            key, at = record["key"], record["at"]
            if len(bytes.fromhex(key)) != 16 or type(at) not in (float, int):
                raise ValueError
            if not (matches_checksum(line) if has_checksum(line) else len(record) == 2):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                f"{path}:{number}: not the key and time of a record",
                fix="restore the file from a copy, or delete that line: the record counts as an answer again",
            ) from None
        yield RecordId(key, float(at))


def _pack(keys: npt.NDArray[np.bytes_], times: npt.NDArray[np.float64]) -> npt.NDArray[np.bytes_]:
    """Return S24 (keys,): key and time of each record as one value."""
    packed = np.zeros(len(keys), _ID)
    packed["key"], packed["at"] = keys, times
    return packed.view("S24")
