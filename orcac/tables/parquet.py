"""Rows of Parquet files. They are read in batches, so that a large file need not fit in memory.

Columns that are not asked for are not read. Rows are numbered from 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from orcac.errors import InputError
from orcac.tables.content import AGAIN
from orcac.tables.text import BadRow, Row

_BATCH_ROWS = 2_000


def count_rows(path: Path) -> int:
    """Return the number of rows in a file's metadata. Raises InputError if it is not Parquet."""
    with _explain_damage(path):
        return int(pq.read_metadata(path).num_rows)


def read_parquet(path: Path, keys: Collection[str] | None) -> Iterator[Row | BadRow]:
    """Yield (number, row) with the columns that the paths `keys` begin with (None: all), or a bad row.

    Of columns of one name the last is read. Raises InputError for a file that is damaged or not Parquet.
    """
    for batch in read_parquet_batches(path, keys):
        yield from batch.rows()


def read_parquet_batches(
    path: Path, keys: Collection[str] | None, mask: npt.NDArray[np.bool_] | None = None
) -> Iterator[ParquetBatch]:
    """Yield the rows that `read_parquet` does as batches, only those of `mask` (rows,) if it is given.

    A mask may be shorter than the file, which is read no further than to its end.
    """
    wanted = {part for key in keys or () for part in (key, key.partition(".")[0])}
    before = 0
    with _explain_damage(path), pq.ParquetFile(path, pre_buffer=False) as file:
        columns = [name for name in file.schema_arrow.names if keys is None or name in wanted]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
            if mask is not None:
                batch = batch.slice(0, len(mask) - before)
            numbers = np.arange(before + 1, before + 1 + batch.num_rows)
            before += batch.num_rows
            if mask is not None:
                chosen = mask[numbers - 1]
                batch, numbers = batch.filter(pa.array(chosen)), numbers[chosen]
            if len(numbers):
                yield ParquetBatch(batch, numbers)
            if mask is not None and before == len(mask):
                break


@contextlib.contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Raise InputError for an error that Arrow raises about a file; that of a disk is passed on."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{path}: cannot be read as Parquet: {error}", fix=AGAIN) from error


class ParquetBatch:
    """Some rows of a file, one after another; a `tables.batches.Batch`."""

    def __init__(self, batch: pa.RecordBatch, numbers: npt.NDArray[np.int64]) -> None:
        self._batch, self._numbers = batch, numbers

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield (number, row) for each row, or a bad row."""
        names = self._batch.schema.names
        try:
            columns = [column.to_pylist() for column in self._batch.columns]
        except UnicodeDecodeError:
            for at, number in enumerate(self._numbers.tolist()):
                yield _read_row(self._batch, at, number)
            return
        for number, cells in zip(self._numbers.tolist(), zip(*columns, strict=True), strict=False):
            yield number, dict(zip(names, cells, strict=True))

    def names(self) -> Iterator[Sequence[str]]:
        """Yield the columns of each row."""
        return repeat(self._batch.schema.names, len(self))

    def are_texts(self, key: str) -> bool:
        """Return whether a column is of texts that are UTF-8."""
        column = self._column(key)
        if column is None or not _holds_texts(column.type):
            return False
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return False
        return True

    def texts(self, key: str, at: Sequence[int] | None = None) -> list[str | None]:
        """Return the texts of a column; of the rows `at`, if that is given."""
        column = self._column(key)
        assert column is not None
        texts: list[str | None] = (column if at is None else column.take(pa.array(at, pa.int64()))).to_pylist()
        return texts

    def _column(self, key: str) -> pa.Array | None:
        places = [place for place, name in enumerate(self._batch.schema.names) if name == key]
        return self._batch.column(places[-1]) if places else None


def _holds_texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_row(batch: pa.RecordBatch, at: int, number: int) -> Row | BadRow:
    try:
        return number, {
            name: column[at].as_py() for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
    except UnicodeDecodeError as error:
        return BadRow(number, f"byte {error.start} of a text is not UTF-8")
