"""The rows of a file of any form."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from orcac.errors import InputError
from orcac.tables.content import AGAIN, PARQUET, find_compression, read_head, strip_compression
from orcac.tables.delimited import read_delimited
from orcac.tables.documents import read_array, read_objects
from orcac.tables.text import BadRow, Row, count_lines, read_lines, read_records

__all__ = ["BadRow", "Form", "Row", "count_rows", "describe", "find_form", "read_rows"]

Form = Literal["jsonl", "array", "objects", "csv", "tsv", "parquet"]

_FIRST_LINES = 20
_NAMES: dict[Form, str] = {
    "jsonl": "JSON Lines",
    "array": "a JSON array",
    "objects": "a JSON document",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
}


def find_form(path: Path, format: str) -> Form:
    """Return the form of a file by its content; `format`, then the name, decides between forms of plain text.

    format: jsonl, json, csv, tsv or parquet

    Raises InputError if the content is not a table: the message names it.
    """
    head = read_head(path)
    if head.startswith(PARQUET):
        if method := find_compression(path):
            raise InputError(f"{path}: the file is Parquet inside {method}", fix="decompress it")
        return "parquet"
    start = head.lstrip()
    if start[:1] == b"[" and (format not in ("csv", "tsv") or start[1:].lstrip()[:1] in (b"{", b"]")):
        return "array"
    if start[:1] == b"{":
        form = _find_object_form(path)
        if form or format not in ("csv", "tsv"):
            return form or "jsonl"
    name = Path(strip_compression(path.name.lower()))
    if format in ("csv", "tsv"):
        return "csv" if format == "csv" else "tsv"
    if name.suffix in (".csv", ".tsv"):
        return "csv" if name.suffix == ".csv" else "tsv"
    if format == "parquet":
        raise InputError(f"{path}: cannot be read as Parquet: it is text", fix=AGAIN)
    return "jsonl"


def _find_object_form(path: Path) -> Form | None:
    """Return the form of a file that begins with `{`; None if no object is found in its first lines."""
    lines = [None if isinstance(line, BadRow) else line[1].strip() for line in islice(read_lines(path), _FIRST_LINES)]
    if len(lines) == 1:
        return "objects"
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        # the last row of a list in a document has a line of its own as well, but then the list ends
        if line and _is_object(line) and not (after or "").startswith(("]", "}")):
            return "jsonl"
    return "objects" if lines[0] and _is_open(lines[0]) else None


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_open(line: str) -> bool:
    """Return whether a line begins a JSON value that may go on in the next line."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line)
    except (ValueError, RecursionError):
        pass
    return False


def read_rows(path: Path, format: str, keys: Collection[str] | None) -> Iterator[Row | BadRow]:
    """Yield (number, row) for each row, or a bad row. `keys` are the columns, or paths into them, that matter;
    None is all.

    The number is that of the line; of Parquet, of an array and of a document that of the row, from 1. Raises
    InputError if the file is not a table, is damaged or is cut.
    """
    match find_form(path, format):
        case "parquet":
            from orcac.tables.parquet import read_parquet

            return read_parquet(path, keys)
        case "array":
            return read_array(path)
        case "objects":
            return read_objects(path, keys or ())
        case "csv":
            return read_delimited(path, ",", keys or ())
        case "tsv":
            return read_delimited(path, "\t", keys or ())
        case "jsonl":
            return read_records(path)


def count_rows(path: Path, format: str, keys: Collection[str]) -> int:
    """Return the number of rows of a file, bad ones included. Raises InputError as `read_rows` does."""
    match find_form(path, format):
        case "parquet":
            from orcac.tables.parquet import count_rows

            return count_rows(path)
        case "jsonl":
            return count_lines(path)
    return sum(1 for _ in read_rows(path, format, keys))


def describe(path: Path, format: str) -> str:
    """Return the content of a file that its name or `format` does not announce, as in "gzip of JSON Lines"; else ""."""
    form, method = find_form(path, format), find_compression(path)
    is_hidden = bool(method) and strip_compression(path.name) == path.name
    is_one_row = form == "objects" and b"\n" not in read_head(path).strip()  # of JSON Lines, perhaps
    if form == format or (format == "json" and form in ("array", "objects")) or (format == "jsonl" and is_one_row):
        return f"{method} of {_NAMES[form]}" if is_hidden else ""
    return f"{method} of {_NAMES[form]}" if is_hidden else _NAMES[form]
