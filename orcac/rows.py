"""The rows that pass between nodes, and the one way they are written and read (Parquet, zstd).

    Prompt   --teacher-->   Response   --filter-->   Response (kept) | Rejected (with its reason)
    Prompt (a benchmark's item)   --student-->   Answer

A row carries its whole provenance (source, task, system message by number, teacher), so that any table can be
read by itself. Nothing in a row depends on the clock or the machine: same inputs, same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.store.durable import replacing_by_name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One user message, its system message, and what is known of its answer."""

    id: str  # digest of (source, task, query, system): see `prompt_id`
    source: str  # the spec's name for the collection, e.g. `cot`
    task: str  # the collection's own name for the task, e.g. `gsm8k`
    query: str  # the user message
    system_id: int  # number in the library of system messages; 1 is the empty one
    system: str  # its text
    reference: str = ""  # the right answer where one is known, else ""
    options: list[str] = dataclasses.field(default_factory=list)  # the allowed final answers; [] is free-form


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response(Prompt):
    """A prompt with what a teacher said to it."""

    teacher: str  # the model's name
    response: str  # "" where there was none
    finish_reason: str  # "stop", "length", "content_filter", ...; "" where the request failed
    error: str = ""  # the error class where the request failed for good (see chat.messages), else ""
    input_tokens: int = 0  # as the endpoint counted them; 0 where it did not
    output_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Response):
    """A response that a filter dropped."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Prompt):
    """A benchmark item as the student answered it. `system` is the message it was evaluated under."""

    response: str
    finish_reason: str
    parsed: str  # the final answer found in the response; "" when none was found
    correct: bool


def prompt_id(source: str, task: str, query: str, system: str) -> str:
    """20 hex digits that name a prompt by its content."""
    text = "\x1f".join((source, task, query, system))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


Row = TypeVar("Row", bound=Prompt)
T = TypeVar("T")
# Rows that are held at once: long answers make these 20 MB.
_ROW_GROUP = 2048
_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    list[str]: pa.list_(pa.string()),
}


def schema(kind: type[Prompt]) -> pa.Schema:
    """The Arrow schema of a row type, in the order of its fields."""
    hints = typing.get_type_hints(kind)
    return pa.schema([(field.name, _ARROW[hints[field.name]]) for field in dataclasses.fields(kind)])


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> int:
    """Write `rows` in batches; the file appears whole or not at all. Returns how many there were."""
    shape = schema(kind)

    def columns(some: list[Row]) -> list[pa.Array]:
        return [pa.array([getattr(row, field.name) for row in some], field.type) for field in shape]

    tables = (pa.RecordBatch.from_arrays(columns(some), schema=shape) for some in batched(rows, _ROW_GROUP))
    return write_tables(path, kind, tables)


def write_tables(path: Path, kind: type[Prompt], tables: Iterable[pa.RecordBatch]) -> int:
    """`write` of rows that are columns already."""
    count = 0
    with (
        replacing_by_name(path) as part,
        pq.ParquetWriter(part, schema(kind), compression="zstd", write_statistics=False) as writer,
    ):
        for table in tables:
            writer.write_batch(table)
            count += len(table)
    return count


def read(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The rows of a file, in order. A file of a wider type may be read as a narrower one."""
    names = [field.name for field in dataclasses.fields(kind)]
    for values in read_columns(path, names):
        yield kind(**dict(zip(names, values, strict=True)))


def read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[typing.Any, ...]]:
    """The values of these columns, row by row."""
    for table in read_tables(path, names):
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def read_tables(path: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns, some rows at a time."""
    with pq.ParquetFile(path, pre_buffer=False) as file:  # else all that was read is kept until the end
        for table in file.iter_batches(batch_size=_ROW_GROUP, columns=list(names), use_threads=False):
            yield table.select(list(names))


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last of fewer."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def widen(row: Prompt, kind: type[Row], **more: typing.Any) -> Row:
    """`row` as the wider type `kind`, with the fields that it lacks. Lists are shared, not copied."""
    known = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return kind(**(known | more))


def widen_table(table: pa.RecordBatch, kind: type[Prompt], **more: list[typing.Any]) -> pa.RecordBatch:
    """`widen` of rows that are columns."""
    shape = schema(kind)
    columns = [pa.array(more[f.name], f.type) if f.name in more else table.column(f.name) for f in shape]
    return pa.RecordBatch.from_arrays(columns, schema=shape)


def lookup(row: Any, path: str, absent: Any = None) -> Any:
    """What stands at `path`: None where that is null, also on the way; `absent` where there is nothing."""
    if isinstance(row, dict) and path in row:
        if row[path] is not None:
            return row[path]
        absent = None
    value = row
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name, absent)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None if value is None else absent
    return value


__all__ = [
    "Answer",
    "Prompt",
    "Rejected",
    "Response",
    "batched",
    "lookup",
    "prompt_id",
    "read",
    "read_columns",
    "read_tables",
    "schema",
    "widen",
    "widen_table",
    "write",
    "write_tables",
]
