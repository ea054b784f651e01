"""The funnel of a dataset: the answers that were asked for, came and were kept, by task, system message and teacher.

A filter writes every response to one of its two tables, so their columns have all counts, and no row becomes an object.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Funnel", "count_funnels"]

_COLUMNS = {"task": "task", "system message": "system_id", "teacher": "teacher"}
_LISTED = 16  # values of a column that are listed, those that lose most answers; the others are summed up
_BATCH = 1 << 16  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """The fate of the answers that have one value in a column, or one of several values that are summed up.

    answered = kept + the sum of rejected.
    """

    by: str  # "task", "system message" or "teacher"
    name: str  # the value; of a system message, its number
    asked: int
    answered: int
    kept: int
    rejected: dict[str, int]  # reason -> answers

    @property
    def lost(self) -> dict[str, int]:
        """The answers that were asked for and not kept, by reason; a request that failed has the reason "failed"."""
        return self.rejected | {"failed": self.rejected.get("failed", 0) + self.asked - self.answered}


class _Cell(NamedTuple):
    """The values that are counted together."""

    task: str
    system_id: int
    teacher: str
    error: str = ""  # "" if the request was answered
    reason: str = ""  # "" if the answer is kept


def count_funnels(filtered: Path) -> tuple[Funnel, ...]:
    """Return the funnels of a filter's folder, for each column in which its rows have several values.

    Raises StoreError if one of its tables cannot be read.
    """
    cells = Counter[_Cell]()
    for name in ("kept", "rejected"):
        path = filtered / f"{name}.parquet"
        try:
            cells.update(_count_cells(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error})", fix="`orcac verify` names what is damaged") from None
    return tuple(
        funnel
        for by, column in _COLUMNS.items()
        if len({getattr(cell, column) for cell in cells}) > 1
        for funnel in _count_by(by, column, cells)
    )


def _count_cells(path: Path) -> Counter[_Cell]:
    """Return the number of rows of each cell of a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        columns = [name for name in _Cell._fields if name in file.schema_arrow.names]
        batches = file.iter_batches(batch_size=_BATCH, columns=columns, use_threads=False)
        parts = [_group(pa.Table.from_batches([batch]), columns, ([], "count_all")) for batch in batches]
    if not parts:
        return Counter()
    counted = _group(pa.concat_tables(parts), columns, ("count_all", "sum"))
    return Counter(
        {_Cell(**{name: row[name] for name in columns}): row["count_all_sum"] for row in counted.to_pylist()}
    )


def _group(table: pa.Table, columns: list[str], aggregation: tuple[str | list[str], str]) -> pa.Table:
    return table.group_by(columns, use_threads=False).aggregate([aggregation])


def _count_by(by: str, column: str, cells: Counter[_Cell]) -> Iterator[Funnel]:
    """Yield the funnels of a column's values, those that lose most answers first, and of the rest together."""
    parts: defaultdict[str, Counter[_Cell]] = defaultdict(Counter)
    for cell, count in cells.items():
        parts[str(getattr(cell, column))][cell] += count
    funnels = [_sum_up(by, name, part) for name, part in parts.items()]
    funnels.sort(key=lambda funnel: (funnel.kept - funnel.asked, funnel.name))
    listed = funnels if len(funnels) <= _LISTED + 1 else funnels[:_LISTED]
    yield from listed
    if others := funnels[len(listed) :]:
        rest = Counter[_Cell]()
        for funnel in others:
            rest.update(parts[funnel.name])
        yield _sum_up(by, f"{len(others):,} others", rest)


def _sum_up(by: str, name: str, cells: Counter[_Cell]) -> Funnel:
    rejected = Counter[str]()
    for cell, count in cells.items():
        if cell.reason and not cell.error:
            rejected[cell.reason] += count
    return Funnel(
        by=by,
        name=name,
        asked=cells.total(),
        answered=sum(count for cell, count in cells.items() if not cell.error),
        kept=sum(count for cell, count in cells.items() if not cell.reason),
        rejected=dict(sorted(rejected.items())),
    )
