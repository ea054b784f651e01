"""Recognition of a benchmark file: its format and, for rows of any shape, the keys of question and right answer.

A file is recognised by its suffix and its first row; `sample` later reads every row, and refuses one of another form
before a model is asked. Only a clear case is recognised: one key that can hold the question, one that can hold the
right answer, and none that would be left out of the question, such as a passage or choices. Anything else is an error
whose fix is to state the format and the fields, because a guess would measure something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orcac.errors import InputError
from orcac.sample.formats.files import read_document, read_lines, read_records

__all__ = ["Recognised", "recognise"]

_QUERY = ("query", "question", "problem", "prompt", "input", "instruction")
_REFERENCE = ("reference", "answer", "target", "output", "completion", "label")
_PART_OF_QUERY = ("passage", "context", "article", "document", "choices", "options", "endings", "system")
_STATE = "state them: --format FORMAT, and for jsonl and parquet --fields query=KEY,reference=KEY"


@dataclass(frozen=True, slots=True)
class Recognised:
    """The format of a file, as a spec names it, and the fields of a table."""

    format: str
    fields: dict[str, str] = field(default_factory=dict)  # orcac's field -> the file's key


def recognise(path: Path) -> Recognised:
    """Return the format of a file. Raises InputError if it is not clear, or if the file cannot be read."""
    match path.suffix:
        case ".json":
            return _recognise_document(path)
        case ".jsonl":
            row = next((row for _, row in read_records(path)), None)
            if row is None:
                raise InputError(f"{path}: the file has no rows", fix="give a file with items")
            if {"question", "options", "label"} <= row.keys():
                return Recognised("agieval")
            return _recognise_row(path, "jsonl", row)
        case ".parquet":
            return _recognise_row(path, "parquet", _first_row(path))
        case ".tsv":
            _, line = next(iter(read_lines(path)), (0, ""))
            if line.count("\t") == 2:
                return Recognised("flan-cot")
        case ".csv":
            _, line = next(iter(read_lines(path)), (0, ""))
            if {"Question", "Best Answer"} <= set(line.strip().split(",")):
                return Recognised("truthfulqa")
    raise InputError(f"{path}: the format is not recognised", fix=_STATE)


def _recognise_document(path: Path) -> Recognised:
    document = read_document(path)
    match document:
        case {"examples": [{"input": str(), "target": str()}, *_]}:
            return Recognised("bbh")
        case {"Definition": _, "Instances": [*_]}:
            return Recognised("natural-instructions")
        case [{"question": str(), "mc1_targets": dict()}, *_]:
            return Recognised("truthfulqa")
    fix = "write its items as JSON Lines, one object on each line" if isinstance(document, list) else _STATE
    raise InputError(f"{path}: the format is not recognised", fix=fix)


def _recognise_row(path: Path, table: str, row: Mapping[str, object]) -> Recognised:
    """Return the format `table` with its fields, read off the keys of the first row."""
    queries, references = ([name for name in names if name in row] for names in (_QUERY, _REFERENCE))
    left_out = [name for name in _PART_OF_QUERY if row.get(name)]
    problem = ""
    if len(queries) != 1:
        problem = f"{_list(queries) or 'no key'} may hold the question"
    elif len(references) != 1:
        problem = f"{_list(references) or 'no key'} may hold the right answer"
    elif left_out:
        problem = f"{_list(left_out)} would be left out of the question"
    elif not isinstance(row[queries[0]], str):
        problem = f"`{queries[0]}` does not hold text"
    if problem:
        keys = ", ".join(list(row)[:20])
        raise InputError(f"{path}: the fields are not clear: {problem}; the keys are {keys}", fix=_STATE)
    fields = {"query": queries[0], "reference": references[0]}
    if isinstance(row.get("task"), str):
        fields["task"] = "task"
    return Recognised(table, fields)


def _first_row(path: Path) -> dict[str, object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1):
                row: dict[str, object] = batch.to_pylist()[0]
                return row
    except pa.ArrowException as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}", fix="download the file again") from None
    raise InputError(f"{path}: the file has no rows", fix="give a file with items")


def _list(keys: list[str]) -> str:
    return " and ".join(f"`{key}`" for key in keys)
