"""Rows of Parquet files. They are read in batches, so that a large file need not fit in memory.

Columns that are not asked for are not read. Rows are numbered from 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.errors import InputError
from orcac.tables.content import AGAIN
from orcac.tables.text import BadRow

_BATCH_ROWS = 2_000


def count_rows(path: Path) -> int:
    """Return the number of rows in a file's metadata. Raises InputError if it is not Parquet."""
    with _explain_damage(path):
        return int(pq.read_metadata(path).num_rows)


def read_parquet(path: Path, keys: Collection[str] | None) -> Iterator[tuple[int, dict[str, object]] | BadRow]:
    """Yield (number, row) with the columns that the paths `keys` begin with (None: all), or a bad row.

    Of columns of one name the last is read. Raises InputError for a file that is damaged or not Parquet.
    """
    wanted = {part for key in keys or () for part in (key, key.partition(".")[0])}
    number = 0
    with _explain_damage(path), pq.ParquetFile(path, pre_buffer=False) as file:
        columns = [name for name in file.schema_arrow.names if keys is None or name in wanted]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
            yield from _read_batch(batch, number)
            number += batch.num_rows


@contextlib.contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Raise InputError for an error that Arrow raises about a file; that of a disk is passed on."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{path}: cannot be read as Parquet: {error}", fix=AGAIN) from error


def _read_batch(batch: pa.RecordBatch, before: int) -> Iterator[tuple[int, dict[str, object]] | BadRow]:
    names = batch.schema.names
    try:
        columns = [column.to_pylist() for column in batch.columns]
    except UnicodeDecodeError:
        for at in range(batch.num_rows):
            yield _read_row(batch, at, before + at + 1)
        return
    for number, cells in enumerate(zip(*columns, strict=True), start=before + 1):
        yield number, dict(zip(names, cells, strict=True))


def _read_row(batch: pa.RecordBatch, at: int, number: int) -> tuple[int, dict[str, object]] | BadRow:
    try:
        return number, {
            name: column[at].as_py() for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
    except UnicodeDecodeError as error:
        return BadRow(number, f"byte {error.start} of a text is not UTF-8")
