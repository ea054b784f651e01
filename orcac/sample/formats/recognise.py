"""Recognition of a benchmark file: its format and, for rows of any shape, the keys of question and right answer.

A file is recognised by its suffix and its first row; `sample` later reads every row, and refuses one of another form
before a model is asked. Only a clear case is recognised: one key that can hold the question, one that can hold the
right answer, and none that would be left out of the question, such as a passage or choices. Anything else is an error
whose fix is to state the format and the fields, because a guess would measure something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from orcac.errors import InputError
from orcac.tables.content import strip_compression
from orcac.tables.delimited import read_header
from orcac.tables.rows import BadRow, find_form, read_rows
from orcac.tables.text import read_document

__all__ = ["Recognised", "recognise"]

_QUERY = ("query", "question", "problem", "prompt", "input", "instruction")
_REFERENCE = ("reference", "answer", "target", "output", "completion", "label")
_PART_OF_QUERY = ("passage", "context", "article", "document", "choices", "options", "endings", "system")
_STATE = "state them: --format FORMAT, and for a table --fields query=KEY,reference=KEY"
_FIRST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Recognised:
    """The format of a file, as a spec names it, and the fields of a table."""

    format: str
    fields: dict[str, str] = field(default_factory=dict)  # orcac's field -> the file's key


def recognise(path: Path) -> Recognised:
    """Return the format of a file. Raises InputError if it is not clear, or if the file cannot be read."""
    match Path(strip_compression(path.name)).suffix:
        case ".json":
            return _recognise_json(path)
        case ".jsonl":
            row = _first_row(path, "jsonl")
            if {"question", "options", "label"} <= row.keys():
                return Recognised("agieval")
            return _recognise_row(path, "jsonl", row)
        case ".parquet":
            return _recognise_row(path, "parquet", _first_row(path, "parquet"))
        case ".tsv":
            names, _ = read_header(path, "\t")
            if {*names} & {*_QUERY}:
                return _recognise_row(path, "tsv", _first_row(path, "tsv"))
            if len(names) == 3:
                return Recognised("flan-cot")
        case ".csv":
            names, _ = read_header(path, ",")
            if {"Question", "Best Answer"} <= {*names}:
                return Recognised("truthfulqa")
            return _recognise_row(path, "csv", _first_row(path, "csv"))
    raise InputError(f"{path}: the format is not recognised", fix=_STATE)


def _recognise_json(path: Path) -> Recognised:
    if find_form(path, "json") != "jsonl":
        match read_document(path):
            case {"examples": [{"input": str(), "target": str()}, *_]}:
                return Recognised("bbh")
            case {"Definition": _, "Instances": [*_]}:
                return Recognised("natural-instructions")
            case [{"question": str(), "mc1_targets": dict()}, *_]:
                return Recognised("truthfulqa")
    return _recognise_row(path, "json", _first_row(path, "json"))


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


def _first_row(path: Path, format: str) -> dict[str, object]:
    keys = None if format == "parquet" else (*_QUERY, *_REFERENCE)
    rows = list(islice(read_rows(path, format, keys), _FIRST_ROWS))
    if not rows:
        raise InputError(f"{path}: the file has no rows", fix="give a file with items")
    good = [row[1] for row in rows if not isinstance(row, BadRow)]
    if not good:
        bad = [f"{row.line}: {row.reason}" for row in rows if isinstance(row, BadRow)]
        raise InputError(f"{path}:{bad[0]}", fix="mend the file, or state its format: --format FORMAT")
    return good[0]


def _list(keys: list[str]) -> str:
    return " and ".join(f"`{key}`" for key in keys)
