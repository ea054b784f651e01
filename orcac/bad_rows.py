"""Rows that cannot be read: they are kept aside in `bad.parquet`, and too many of them end the node.

`sample` and `collect` share this: sources and recordings are read by one rule. Which rows are bad depends on the files
and the recipe alone; how many are allowed is a matter of the execution, and so changes no id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.errors import InputError
from orcac.progress import print_line
from orcac.store.durable import replacing_by_name
from orcac.tables.rows import BadRow

__all__ = ["MOST_BAD_FIRST", "check_bad", "write_bad"]

MOST_BAD_FIRST = 1_000  # rows after which a reader stops, if they are all bad
SHARE = 0.001  # of all rows, unless the spec gives another share
FEWEST = 10  # rows that may be bad of files of any size
_NAMED = 5  # bad rows that a message names
_SHAPE = pa.schema([("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])


def check_bad(
    label: str, count: int, read: int, first: Sequence[BadRow], *, share: float | None, of: str = "source"
) -> None:
    """Print the number of bad rows and the first few of `first`.

    count, read: the number of bad rows, and of all rows that were read
    share: largest share of bad rows, SHARE if it is None; FEWEST are allowed in any case, unless it is 0
    of: the part of the spec that has the files, for the message

    Raises InputError if more are bad than allowed, or all of them.
    """
    if not count:
        return
    named = [f"{bad.file}:{bad.line}: {bad.reason}" for bad in first[:_NAMED]]
    more = [f"and {count - len(named):,} more"] if count > len(named) else []
    most = 0 if share == 0 else max(FEWEST, int((SHARE if share is None else share) * read))
    if count > most or count == read:
        allowed = "none can be read" if count == read else f"{most:,} may be"
        raise InputError(
            "\n    ".join([f"{label}: {count:,} of {read:,} rows are bad, and {allowed}", *named, *more]),
            fix=f"mend the files, correct the {of}'s `fields` or `format`, or raise its `max_bad`",
        )
    rows = "row is" if count == 1 else "rows are"
    text = f"{label}  {count:,} bad {rows} kept aside in bad.parquet"
    print_line("\n    ".join([text, *named, *more]))


def write_bad(path: Path, bad: Sequence[BadRow]) -> None:
    """Write bad rows, unless there are none: file, line, reason, and the beginning of the row's text."""
    if bad:
        columns = [
            pa.array([getattr(row, name) for row in bad], kind)
            for name, kind in zip(_SHAPE.names, _SHAPE.types, strict=True)
        ]
        with replacing_by_name(path) as part:
            pq.write_table(pa.table(columns, schema=_SHAPE), part, compression="zstd", write_statistics=False)
