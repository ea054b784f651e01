"""The ledger of an upstream: a second store, such as a lab's shared one, that is read and never written.

Before a job asks, the answers that only the upstream has are copied into the store's own ledger, with their times
(`adopt`). So they stay when the upstream goes away, everything else reads one ledger, and `orcac answers` lists them. A
record is the same wherever it is stored, so one that is forgotten on either side is not used.

The upstream is untrusted: its ledger may hold no links, and a record is copied only if it has the key of its request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import Forgotten, RecordId
from orcac.chat.ledger.keys import Keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import NotARecord, Record, cap_of, line_of, parse_and_verify, response_of
from orcac.chat.messages import served_caps
from orcac.errors import StoreError

_TOGETHER = 1000  # records that become durable together


class Adopted(NamedTuple):
    """The numbers of records that were copied, and of those that are not what they claim to be."""

    copied: int
    refused: int


def open_upstream(folder: Path, upstream: Path, wanted: Keys | None) -> Ledger:
    """Return the upstream's ledger, to look up `wanted` keys (sorted; None: all) that the ledger in `folder` lacks.

    Raises StoreError if it is damaged.
    """
    with _blame(upstream):
        return Ledger(upstream, wanted, forgotten=_find_forgotten(folder, upstream))


async def adopt(folder: Path, upstream: Path, wanted: Keys, cap: int) -> Adopted:
    """Copy the records that settle requests with `wanted` keys (sorted) under the max_tokens `cap`.

    Requests that the ledger in `folder` settles are left out. Raises StoreError if a ledger is damaged, or if `folder`
    cannot be written.
    """
    async with Ledger(folder, wanted) as ledger:
        missing = wanted[ledger.find(wanted, cap) < 0]
        theirs = open_upstream(folder, upstream, missing)
        try:
            digits = missing[theirs.find(missing, cap) >= 0].tobytes().hex()
        finally:
            theirs.close()
        keys = {digits[start : start + 32] for start in range(0, len(digits), 32)}

        def settles(record: Record) -> bool:
            low, high = served_caps(cap_of(record), response_of(record))
            return low <= cap <= high

        return await append_checked(ledger, read_upstream(folder, upstream, keys) if keys else (), settles)


async def append_checked(
    ledger: Ledger, records: Iterable[Record], keep: Callable[[Record], bool] = lambda record: True
) -> Adopted:
    """Append records from elsewhere that `keep` selects, with their times. One without the key of its request is
    refused."""
    copied = refused = 0
    pending: list[asyncio.Future[None]] = []
    for record in records:
        try:
            checked = parse_and_verify(line_of(record))
        except (NotARecord, ValueError):
            refused += 1
            continue
        if not keep(checked):
            continue
        pending.append(ledger.append_record(checked))
        copied += 1
        if len(pending) == _TOGETHER:
            await asyncio.gather(*pending)
            pending.clear()
    await asyncio.gather(*pending)
    return Adopted(copied, refused)


def read_upstream(folder: Path, upstream: Path, keys: Container[str]) -> Iterator[Record]:
    """Yield the upstream's records with these keys (hex digits), without those that it or `folder` has forgotten.

    Raises StoreError if its ledger is damaged.
    """
    with _blame(upstream):
        forgotten = _find_forgotten(folder, upstream)
        for record in read_records(upstream, keys):
            if RecordId(record["key"], record["at"]) not in forgotten:
                yield record


def _find_forgotten(folder: Path, upstream: Path) -> Forgotten:
    return Forgotten(upstream, more=[*Forgotten(folder)])


@contextlib.contextmanager
def _blame(upstream: Path) -> Iterator[None]:
    """Turn every error of reading into a StoreError whose fix is not a change of the upstream's files."""
    fix = "have it repaired, or remove `upstream` from orcac.toml and run again"
    try:
        yield
    except StoreError as error:
        raise StoreError(error.message, fix=fix) from error
    except (OSError, LookupError, ValueError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"{upstream}: its answers cannot be read ({reason})", fix=fix) from error
