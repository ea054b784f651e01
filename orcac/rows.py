"""Rows that pass between nodes, written to and read from Parquet with zstd.

    Prompt   --teacher-->   Response   --filter-->   Response (kept) | Rejected (with its reason)
    Prompt or BenchmarkItem   --student-->   Answer   --checkers-->   Scored

A row carries its whole provenance (source, task, number of the system message, teacher), so that any table can be
read by itself. Nothing in a row depends on the clock or the machine: the same inputs give the same bytes.

A spare field is a column only of the files in which some row has another value than its default: most files need none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.store.durable import replacing_by_name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One user message, its system message, and its right answer if that is known."""

    id: str  # digest of (source, task, query, system): see `prompt_id`
    source: str  # the spec's name for the collection, e.g. `cot`
    task: str  # the collection's own name for the task, e.g. `gsm8k`
    query: str  # the user message
    system_id: int  # number in the library of system messages; 1 is the empty one
    system: str  # its text
    reference: str = ""  # the right answer; "" if none is known
    options: list[str] = dataclasses.field(default_factory=list)  # the allowed final answers; [] is free-form


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkItem(Prompt):
    """A benchmark's item with the fields that only some benchmarks need.

    A file of `Prompt`s is read as items without them. If there are several right answers, `reference` is the first of
    them. The likelihood of `choices[i]` is that of the tokens that continue the query, and stands for `options[i]`.
    Several choices may be right, as in TruthfulQA's mc2.
    """

    references: list[str] = dataclasses.field(default_factory=list)  # all right answers, if the file lists several
    choices: list[str] = dataclasses.field(default_factory=list)  # continuations of the query; [] if none are compared
    right: list[int] = dataclasses.field(default_factory=list)  # indices of the right choices


_SPARE = {"spare": True}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response(Prompt):
    """A prompt with a teacher's response."""

    teacher: str  # the model's name
    response: str  # the answer without its reasoning; "" if the request failed, or if the model gave no answer
    reasoning: str = dataclasses.field(default="", metadata=_SPARE)  # the model's reasoning before the answer
    refusal: str = dataclasses.field(default="", metadata=_SPARE)  # the model's words in the place of a refusal
    finish_reason: str  # "stop", "length", "content_filter", ...; "" if the request failed
    error: str = ""  # the error class if the request failed for good (see chat.failures), else ""
    input_tokens: int = 0  # as the endpoint counted them; 0 if it did not
    output_tokens: int = 0
    sample: int = dataclasses.field(default=0, metadata=_SPARE)  # number of the answer, if each prompt has several


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Response):
    """A response that a filter dropped."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Prompt):
    """A benchmark item with the student's answer. `system` is the message that it was evaluated under.

    If likelihoods were compared, the answer is the likeliest option. If the loss of a given text was measured, it is
    that text, whose tokens are `output_tokens`.
    """

    response: str
    reasoning: str = ""  # the part of the answer that the model marks as thinking
    finish_reason: str  # "stop" or "length"
    input_tokens: int = 0  # 0 in a file of an older orcac, which did not count
    output_tokens: int = 0
    log_likelihoods: list[float] = dataclasses.field(default_factory=list, metadata=_SPARE)  # one a choice or text
    sample: int = dataclasses.field(default=0, metadata=_SPARE)  # number of the answer, if each item has several


Outcome = Literal[
    "right", "wrong", "unparsed", "cut", "refused", "failed", "judged", "judge refused", "judge unread", "measured"
]
JUDGED: tuple[Outcome, ...] = ("judged", "judge refused", "judge unread")  # outcomes that only a judge gives
MEASURED: Outcome = "measured"  # the loss of a given text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Prompt):
    """A benchmark item with an answer and its score. The first checker decides; `others` are the further ones."""

    response: str
    finish_reason: str
    parsed: str  # the final answer that the first checker found; "" if it found none
    outcome: Outcome
    score: float | None  # in [0, 1]; None if the request failed, or if a given text is longer than the positions
    others_parsed: list[str] = dataclasses.field(default_factory=list)  # one for each further checker
    others_score: list[float] = dataclasses.field(default_factory=list)  # likewise; [] if the request failed
    chance: float | None = dataclasses.field(default=None, metadata=_SPARE)  # score of a guess; None: by the options
    loss: float | None = dataclasses.field(default=None, metadata=_SPARE)  # of a given text, nats per token
    sample: int = dataclasses.field(default=0, metadata=_SPARE)  # number of the answer, if each item has several


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Review(Prompt):
    """A judge's review of an answer to a benchmark item or a prompt, alone or beside that of a reference.

    Points are from 1 to 10; of a verdict, 1 is a win, 0.5 a tie and 0 a loss. A review without a number has None.
    """

    against: int  # number of the reference; -1 if an answer is judged alone
    against_model: str
    candidate_first: bool
    review: str
    finish_reason: str
    outcome: Outcome
    candidate_points: float | None
    reference_points: float | None
    candidate_length: int  # characters
    reference_length: int
    key: str  # of the request in the ledger; "" if the review is from a recording
    imitates: bool  # the candidate's answer imitates the marks of the prompt, or holds a verdict
    sample: int = dataclasses.field(default=0, metadata=_SPARE)  # number of the answer, if each prompt has several


def prompt_id(source: str, task: str, query: str, system: str) -> str:
    """Return 20 hex digits that name a prompt by its content."""
    text = "\x1f".join((source, task, query, system))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


Row = TypeVar("Row", bound=Prompt)
T = TypeVar("T")
_ROW_GROUP = 2048  # rows in memory at once: 20 MB if the answers are long
_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float | None: pa.float64(),
    Outcome: pa.string(),
    list[str]: pa.list_(pa.string()),
    list[int]: pa.list_(pa.int64()),
    list[float]: pa.list_(pa.float64()),
}


def schema(kind: type[Prompt], spare: Collection[str] = ()) -> pa.Schema:
    """Return the Arrow schema of a row type, in the order of its fields. `spare` names the spare columns to add."""
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.metadata != _SPARE or field.name in spare]
    return pa.schema([(field.name, _ARROW[hints[field.name]]) for field in fields])


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> int:
    """Write rows in batches and return their number. The file appears whole or not at all."""
    shape = schema(kind, _spare_defaults(kind))

    def columns(some: list[Row]) -> list[pa.Array]:
        return [pa.array([getattr(row, field.name) for row in some], field.type) for field in shape]

    tables = (pa.RecordBatch.from_arrays(columns(some), schema=shape) for some in batched(rows, _ROW_GROUP))
    return write_tables(path, kind, tables)


def write_tables(path: Path, kind: type[Prompt], tables: Iterable[pa.RecordBatch]) -> int:
    """Write rows that are columns already, as `write` does, and return their number.

    A table may lack spare columns. A file whose first rows need none is begun again at the first row that does.
    """
    count, defaults = 0, _spare_defaults(kind)
    shape = schema(kind)
    with replacing_by_name(path) as part:
        writer = _open_writer(part, shape)
        try:
            for table in tables:
                needed = [name for name in table.schema.names if name not in shape.names]
                needed = [name for name in needed if any(v != defaults[name] for v in table.column(name).to_pylist())]
                if needed:
                    writer.close()
                    shape = schema(kind, {*needed, *shape.names})
                    writer = _write_again(part, shape, defaults)
                writer.write_batch(_fit(table, shape, defaults))
                count += len(table)
        finally:
            writer.close()
    return count


def _open_writer(path: Path, shape: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, shape, compression="zstd", write_statistics=False)


def _write_again(path: Path, shape: pa.Schema, defaults: Mapping[str, object]) -> pq.ParquetWriter:
    """Replace a file by one with the columns of `shape` and the same rows, and return the writer of it, still open."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        path.unlink()  # the open file stays readable
        writer = _open_writer(path, shape)
        for group in range(file.num_row_groups):
            for table in file.read_row_group(group, use_threads=False).combine_chunks().to_batches():
                writer.write_batch(_fit(table, shape, defaults))
    return writer


def _fit(table: pa.RecordBatch, shape: pa.Schema, defaults: Mapping[str, object]) -> pa.RecordBatch:
    """Return a table with the columns of `shape`; those that it lacks have their defaults."""
    columns = [
        table.column(field.name)
        if field.name in table.schema.names
        else pa.array([defaults[field.name]] * len(table), field.type)
        for field in shape
    ]
    return pa.RecordBatch.from_arrays(columns, schema=shape)


def _spare_defaults(kind: type[Prompt]) -> dict[str, object]:
    """Return the default of each spare field of a row type."""
    return {
        field.name: field.default if field.default is not dataclasses.MISSING else []
        for field in dataclasses.fields(kind)
        if field.metadata == _SPARE
    }


def read(path: Path, kind: type[Row], groups: Sequence[int] | None = None) -> Iterator[Row]:
    """Yield the rows of a file, in order; of its row groups `groups`, if they are given.

    A file of a wider type may be read as a narrower one.

    A field that has a default may be absent from the file: a store outlives the versions of orcac that fill it.
    """
    stored = set(pq.read_schema(path).names)
    names = [field.name for field in dataclasses.fields(kind) if field.name in stored or not _has_default(field)]
    for values in read_columns(path, names, groups):
        yield kind(**dict(zip(names, values, strict=True)))


def has_column(path: Path, name: str) -> bool:
    """Return whether the rows of a file have a field of this name."""
    return name in pq.read_schema(path).names


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return not (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)


def read_columns(path: Path, names: Sequence[str], groups: Sequence[int] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the values of these columns, row by row, as the types of their schema."""
    for table in read_tables(path, names, groups):
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def read_tables(path: Path, names: Sequence[str], groups: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield these columns, some rows at a time; of the row groups `groups`, if they are given."""
    with pq.ParquetFile(path, pre_buffer=False) as file:  # with a buffer, all data read stays in memory until the end
        some = None if groups is None else list(groups)
        for table in file.iter_batches(batch_size=_ROW_GROUP, row_groups=some, columns=list(names), use_threads=False):
            yield table.select(list(names))


def of_table(table: pa.RecordBatch, kind: type[Row]) -> Iterator[Row]:
    """Yield the rows of a table, which may be of a wider type."""
    names = [field.name for field in dataclasses.fields(kind) if field.name in table.schema.names]
    for values in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        yield kind(**dict(zip(names, values, strict=True)))


def regroup(tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of tables of one schema in tables of the size that `write` makes."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for table in tables:
        while count + len(table) >= _ROW_GROUP:
            needed = _ROW_GROUP - count
            yield pa.concat_batches([*waiting, table.slice(0, needed)])
            waiting, count, table = [], 0, table.slice(needed)
        if len(table):
            waiting.append(table)
            count += len(table)
    if waiting:
        yield pa.concat_batches(waiting)


def read_as(path: Path, kind: type[Prompt]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `read` yields as columns, some at a time; spare columns only if the file has them."""
    stored = set(pq.read_schema(path).names)
    fields = dataclasses.fields(kind)
    present = [field.name for field in fields if field.name in stored]
    absent = [field for field in fields if field.name not in stored and field.metadata != _SPARE]
    shape = schema(kind, present)
    for table in read_tables(path, present):
        for field in absent:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            column = pa.array([default] * len(table), shape.field(field.name).type)
            table = table.append_column(shape.field(field.name), column)
        yield table.select(shape.names)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last list may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def widen(row: Prompt, kind: type[Row], **more: object) -> Row:
    """Return `row` as the type `kind`: the fields that both have, and `more`. Lists are shared, not copied."""
    make: Callable[..., Row] = kind
    shared = {name: getattr(row, name) for name in row.__dataclass_fields__ if name in kind.__dataclass_fields__}
    return make(**(shared | more))


def widen_table(table: pa.RecordBatch, kind: type[Prompt], **more: Sequence[object]) -> pa.RecordBatch:
    """Return rows that are columns as the wider type `kind`; `more` gives the further columns."""
    shape = schema(kind, more)
    columns = [pa.array(more[f.name], f.type) if f.name in more else table.column(f.name) for f in shape]
    return pa.RecordBatch.from_arrays(columns, schema=shape)


__all__ = [
    "JUDGED",
    "MEASURED",
    "Answer",
    "BenchmarkItem",
    "Outcome",
    "Prompt",
    "Rejected",
    "Response",
    "Review",
    "Scored",
    "batched",
    "has_column",
    "of_table",
    "prompt_id",
    "read",
    "read_as",
    "read_columns",
    "read_tables",
    "regroup",
    "schema",
    "widen",
    "widen_table",
    "write",
    "write_tables",
]
