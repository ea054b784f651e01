"""The rows of a table in batches whose cells can be taken as columns, for a fraction of the cost of a row at a time.

Parquet and JSON Lines are read so; the rows, their numbers, their order and the bad rows are those of `read_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from orcac.tables.rows import BadRow, Row, find_form
from orcac.tables.text import parse_record, read_lines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask: TypeAlias = npt.NDArray[np.bool_]

__all__ = ["Batch", "read_batches"]

_BATCH_ROWS = 2_000


class Batch(Protocol):
    """Some rows of a file, one after another."""

    def __len__(self) -> int: ...

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield (number, row) for each row, or a bad row."""

    def names(self) -> Iterator[Collection[str]]:
        """Yield the columns of each row."""

    def are_texts(self, key: str) -> bool:
        """Return whether each row has a text or null at the column `key`, none with half a character."""

    def texts(self, key: str, at: Sequence[int] | None = None) -> list[str | None]:
        """Return the texts of a column for which `are_texts` is true; of the rows `at`, if that is given."""


class _Records:
    """Rows of JSON Lines."""

    def __init__(self, numbered: Sequence[Row]) -> None:
        self._numbered = numbered

    def __len__(self) -> int:
        return len(self._numbered)

    def rows(self) -> Iterator[Row | BadRow]:
        return iter(self._numbered)

    def names(self) -> Iterator[Mapping[str, object]]:
        return (row for _, row in self._numbered)

    def are_texts(self, key: str) -> bool:
        cells = [row.get(key, _ABSENT) for _, row in self._numbered]
        if not {*map(type, cells)} <= _TEXTS:
            return False
        try:
            "".join([cell for cell in cells if isinstance(cell, str)]).encode()
        except UnicodeEncodeError:
            return False
        return True

    def texts(self, key: str, at: Sequence[int] | None = None) -> list[str | None]:
        numbered = self._numbered if at is None else [self._numbered[index] for index in at]
        return [row[key] for _, row in numbered]  # type: ignore[misc]


_ABSENT = object()
_TEXTS = {str, type(None)}


def read_batches(path: Path, format: str, keys: Collection[str], mask: Mask | None = None) -> Iterator[Batch] | None:
    """Return the batches of a file of Parquet or JSON Lines, None for another form.

    mask: (rows,), in the order of `read_rows`; only these rows are read, and nothing beyond the mask's end

    Raises InputError as `read_rows` does.
    """
    match find_form(path, format):
        case "parquet":
            from orcac.tables.parquet import read_parquet_batches

            return read_parquet_batches(path, keys, mask)
        case "jsonl":
            return _read_lines(path, mask)
    return None


def _read_lines(path: Path, mask: Mask | None) -> Iterator[Batch]:
    good: list[Row] = []
    lines = read_lines(path)
    for line in lines if mask is None else compress(lines, mask):
        row = line if isinstance(line, BadRow) else parse_record(*line)
        if isinstance(row, BadRow):
            if good:
                yield _Records(good)
            yield _Bad(row)
            good = []
            continue
        good.append(row)
        if len(good) == _BATCH_ROWS:
            yield _Records(good)
            good = []
    if good:
        yield _Records(good)


class _Bad:
    """A bad row."""

    def __init__(self, row: BadRow) -> None:
        self._row = row

    def __len__(self) -> int:
        return 1

    def rows(self) -> Iterator[Row | BadRow]:
        yield self._row

    def names(self) -> Iterator[Collection[str]]:
        return iter(())

    def are_texts(self, key: str) -> bool:
        return False

    def texts(self, key: str, at: Sequence[int] | None = None) -> list[str | None]:
        raise AssertionError(key)
