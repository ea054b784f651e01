"""Records that go from one ledger into another: which of them the other lacks, and writing those.

A record is sent if the other ledger settles its request with no record of its own. So the union of two ledgers changes
no answer that one of them has used, and nothing is sent twice. A record that is forgotten on either side is left out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import Forgotten, RecordId
from orcac.chat.ledger.index import Index
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import Record, cap_of
from orcac.chat.ledger.sealed import DICTIONARY_COLUMNS, SCHEMA, name_of, row_of
from orcac.chat.ledger.upstream import Adopted, append_checked
from orcac.rows import batched

__all__ = ["add_records", "read_unsettled", "write_sealed"]

_GROUP = 2048  # records of a row group
_FILE = 50_000  # records of a file: a transfer that is cut short sends one file again


def read_unsettled(
    folder: Path, index: Index, forgotten: Forgotten, keep: Callable[[Record], bool] = lambda record: True
) -> Iterator[Record]:
    """Yield the records of a ledger that `keep` selects and whose requests `index`, that of another one, leaves open.

    forgotten: the records that one of the two has forgotten. Raises StoreError if a record is damaged.
    """
    sent = set[tuple[str, int]]()
    for record in read_records(folder) if folder.is_dir() else ():
        key, cap = record["key"], cap_of(record)
        if (key, cap) in sent or RecordId(key, record["at"]) in forgotten or not keep(record):
            continue
        if index.find_one(bytes.fromhex(key), cap) is None:
            sent.add((key, cap))
            yield record


def write_sealed(records: Iterable[Record], folder: Path) -> Iterator[tuple[Path, int]]:
    """Write records to sealed files in `folder`, and yield the path of each with its number of records.

    The caller may remove a file before it takes the next one.
    """
    rest = iter(records)
    schema = SCHEMA.with_metadata({"made_from": json.dumps([]), "checksums": "pages"})
    options = {"compression": "zstd", "use_dictionary": DICTIONARY_COLUMNS, "write_statistics": False}
    for first in rest:
        part, count = folder / "records.part", 0
        with pq.ParquetWriter(part, schema, write_page_checksum=True, **options) as writer:
            for group in batched(itertools.chain([first], itertools.islice(rest, _FILE - 1)), _GROUP):
                writer.write_table(pa.Table.from_pylist([row_of(record) for record in group], schema=schema))
                count += len(group)
        yield part.rename(folder / f"{name_of(part)}.parquet"), count


def add_records(folder: Path, records: Iterable[Record]) -> Adopted:
    """Add records from elsewhere to a ledger with their times. One without the key of its request is refused.

    Raises StoreError if the folder cannot be written.
    """

    async def add() -> Adopted:
        async with Ledger(folder, np.empty(0, "S16")) as ledger:
            return await append_checked(ledger, records)

    return asyncio.run(add())
