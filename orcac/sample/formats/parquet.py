"""Any Parquet file, by a map from our names to its columns (see `mapped`).

It is read in batches, so that a large file need not fit in memory. Columns that the map does not name are not read.
Rows are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.errors import InputError
from orcac.sample.formats.files import row_error
from orcac.sample.formats.item import Item
from orcac.sample.formats.mapped import items
from orcac.sample.recipe import Source

_BATCH_ROWS = 2_000


def read(path: Path, name: str, source: Source) -> Iterator[Item]:
    """Yield the items. Raises InputError for a file that is damaged or not Parquet, and as `mapped.items` does."""
    return items(_rows(path, source.fields.values()), path, name, source.fields)


def count_rows(path: Path) -> int:
    """Return the number of rows in a file's metadata. Raises InputError if it is not Parquet."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: cannot be read as Parquet: {error}", fix="mend or download the file again"
        ) from error


def _rows(path: Path, keys: Iterable[str]) -> Iterator[tuple[int, dict[str, object]]]:
    wanted = {part for key in keys for part in (key, key.partition(".")[0])}
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in wanted]
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                cells = list(zip(batch.schema.names, batch.columns, strict=True))
                for at in range(batch.num_rows):
                    number += 1
                    yield number, {name: column[at].as_py() for name, column in cells}
    except UnicodeDecodeError as error:
        raise row_error(
            path, number, f"byte {error.start} of a text is not UTF-8", fix="save its texts as UTF-8"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(
            f"{path}: cannot be read as Parquet after row {number:,}: {error}", fix="mend or download the file again"
        ) from error
