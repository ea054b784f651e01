"""Rows of any shape as items, by a map from our names to their keys: query (needed), reference, task, options.

`references` is the key of a list of texts that are equally right, instead of `reference`; the first is the reference.

A key may be a path into nested values (`rows.lookup`). If the map has no task, the file's stem is the task; if it has
no options, they are read from the query if that lists them. A row may lack a reference, a task or options, but a key
that no row of a file has is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from orcac.errors import InputError
from orcac.rows import lookup
from orcac.sample.formats.files import row_error
from orcac.sample.formats.item import Item
from orcac.sample.formats.options import find_options

NAMES = ("query", "reference", "references", "task", "options")
_END_OF_TEXT = "<|endoftext|>"  # the end of texts in training files; it is not part of an answer


def items(
    rows: Iterable[tuple[int, dict[str, object]]], path: Path, name: str, fields: dict[str, str]
) -> Iterator[Item]:
    """Yield the item of each (number from 1, row). `path` and `name` are the file's, as for every reader.

    Raises InputError for a bad map, a row without a query, a value that is not text, a key that no row has.
    """
    if "query" not in fields or not set(fields) <= set(NAMES):
        raise InputError(
            f"{path}: `fields` has the keys {', '.join(sorted(fields)) or '(none)'}",
            fix=f"map `query` to a key of the file and, if you need them, {', '.join(NAMES[1:])}",
        )
    missing = set(fields)
    number = 0
    for number, row in rows:
        values = {ours: lookup(row, key) for ours, key in fields.items()}
        missing -= {ours for ours, value in values.items() if value is not None}
        query = _text(values["query"], path, number, fields["query"])
        if not query:
            raise row_error(path, number, f"no text at {fields['query']!r}", fix="mend the row or fields.query")
        references: tuple[str, ...] = ()
        if "references" in fields:
            references = tuple(filter(None, _texts(values["references"], path, number, fields["references"])))
            reference = references[0] if references else ""
        else:
            reference = _text(values.get("reference"), path, number, fields.get("reference", ""))
        task = _text(values.get("task"), path, number, fields.get("task", "")) or Path(name).stem
        if "options" in fields:
            options = _texts(values["options"], path, number, fields["options"])
        else:
            options = find_options(query)
        yield Item(task=task, query=query, reference=reference, references=references, options=options, place=number)
    if number and missing:
        keys = ", ".join(repr(fields[ours]) for ours in sorted(missing))
        raise InputError(f"{path}: no row has a value at {keys}", fix="correct the source's fields")


def _text(value: object, path: Path, number: int, key: str) -> str:
    """Return the value as stripped text; of a list, the first (several references are equally right)."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise row_error(path, number, f"the value at {key!r} is not text", fix="name a key that holds text")
    return str(value).strip().removesuffix(_END_OF_TEXT).strip()


def _texts(value: object, path: Path, number: int, key: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise row_error(
            path, number, f"the value at {key!r} is not a list", fix="name a key that holds a list of texts"
        )
    return tuple(_text(one, path, number, key) for one in value)
