"""Rows of any shape as items, by a map from our names to their keys.

    query        needed; a conversation counts as its first turn of the human (see `conversation`)
    reference    the right answer: a text, a number, the first of a list, or the label of an option
    references   instead: a list of texts that are equally right; the first is the reference
    system       the row's own system message
    task         the file's stem if absent
    options      a list of texts, or texts with labels; if absent they are read from the query if that lists them

A key may be a path into nested values (`tables.paths`), a turn of a conversation (`messages.user`), or a template of
several keys (`tables.template`). Null, NaN and texts of white space alone are absent. A row may lack all but the query;
a key that no row of a file has is an error.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from itertools import islice
from pathlib import Path

from orcac.errors import InputError
from orcac.sample.formats.conversation import find_conversation, lookup_turn
from orcac.sample.formats.item import Item
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source
from orcac.tables.columns import find_missing
from orcac.tables.content import strip_compression
from orcac.tables.paths import lookup
from orcac.tables.rows import BadRow, read_rows
from orcac.tables.template import Template, list_keys

NAMES = ("query", "reference", "references", "system", "task", "options")
_END_OF_TEXT = "<|endoftext|>"  # the end of texts in training files; it is not part of an answer
_MOST_NAMED = 20  # columns in a message
_Row = Mapping[str, object]


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items of a table of any form, or bad rows.

    Raises InputError for a file that is not a table or is damaged, a bad map, and a key that no row has.
    """
    keys = list_source_keys(source)
    missing, columns = find_missing(path, source.format, keys)
    if missing:
        raise _missing_error(path, missing, columns)
    return items(read_rows(path, source.format, keys), path, name, source)


def list_source_keys(source: Source) -> set[str]:
    """Return the keys of a file that a source reads."""
    return {key for field in source.fields.values() for key in list_keys(field)}


def items(
    rows: Iterable[tuple[int, dict[str, object]] | BadRow], path: Path, name: str, source: Source
) -> Iterator[Item | BadRow]:
    """Yield the item of each (number from 1, row), or a bad row. `path` and `name` are the file's.

    Raises InputError for a bad map, and for a key that no row has.
    """
    fields = source.fields
    if "query" not in fields or not set(fields) <= set(NAMES):
        raise InputError(
            f"{path}: `fields` has the keys {', '.join(sorted(fields)) or '(none)'}",
            fix=f"map `query` to a key of the file and, if you need them, {', '.join(NAMES[1:])}",
        )
    reader = _RowReader(source, Path(strip_compression(name)).stem)
    columns: dict[str, None] = {}
    is_read = False  # a row that is bad at one key is not read to the end
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        number, values = row
        if reader.missing and len(columns) < _MOST_NAMED:
            columns |= dict.fromkeys(values)
        try:
            item = reader.read(values, number)
            is_read = True
            yield item
        except ValueError as error:
            yield BadRow(number, str(error), json.dumps(values, ensure_ascii=False, default=str))
    if columns and reader.missing and (is_read or reader.missing & {*list_keys(fields["query"])}):
        raise _missing_error(path, reader.missing, columns)


def _missing_error(path: Path, missing: Iterable[str], columns: Iterable[str]) -> InputError:
    keys = ", ".join(map(repr, sorted(missing)))
    return InputError(
        f"{path}: no row has a value at {keys}; the columns are {', '.join(islice(columns, _MOST_NAMED))}",
        fix="correct the source's fields",
    )


class _RowReader:
    """A reader of rows by the fields of one source."""

    def __init__(self, source: Source, stem: str) -> None:
        self.fields, self.stem = source.fields, stem
        self.has_cells = source.format in ("csv", "tsv")  # a conversation in a cell is JSON
        self.templates = {field: Template.parse(field) for field in source.fields.values()}
        self.missing = list_source_keys(source)  # those without a value so far

    def read(self, row: _Row, number: int) -> Item:
        """Return the item of a row. Raises ValueError with the reason if it is bad."""
        fields = self.fields
        query, system, later_turns = self._query(row)
        if not query:
            raise ValueError(f"no text at {fields['query']!r}")
        if "system" in fields:
            system = self._text(row, fields["system"], is_system=True)
        options, labels = self._options(row, query)
        references: list[str] = []
        if "references" in fields:
            references = [*filter(None, _read_texts(self._value(row, fields["references"]), fields["references"]))]
        elif "reference" in fields:
            references = [self._reference(row, fields["reference"], options, labels)]
        task = (self._text(row, fields["task"]) if "task" in fields else "") or self.stem
        return Item(
            task=task,
            query=query,
            reference=references[0] if references else "",
            references=tuple(references) if "references" in fields else (),
            options=options,
            system=system,
            later_turns=later_turns,
            place=number,
        )

    def _value(self, row: _Row, key: str, *, may_be_null: bool = False) -> object:
        """Return the value at a key; None if it is absent."""
        value = lookup(row, key, _NOTHING)
        if value is _NOTHING:
            value = lookup_turn(row, key)
            if value is None:
                return None
        if self.missing and (value is not None or may_be_null):
            self.missing.discard(key)
        return None if isinstance(value, float) and math.isnan(value) else value

    def _query(self, row: _Row) -> tuple[str, str | None, int]:
        """Return the query, the system message of a conversation that has one, and its turns that are not used."""
        field = self.fields["query"]
        if self.templates[field] is None:
            value = self._value(row, field)
            turns = _parse_cell(value) if self.has_cells and isinstance(value, str) else value
            if not isinstance(turns, str) and (conversation := find_conversation(turns)):
                human, system = (_read_text(text, field) for text in (conversation.human, conversation.system))
                return human, system or None, conversation.later_turns
            return _read_text(value, field), None, 0
        return self._text(row, field), None, 0

    def _text(self, row: _Row, field: str, *, is_system: bool = False) -> str:
        """Return the text of a field: of one key, or of a template."""
        template = self.templates[field]
        if template:
            return template.fill(lambda key: _read_text(self._value(row, key, may_be_null=True), key))
        value = self._value(row, field, may_be_null=is_system)
        if is_system and not isinstance(value, str) and (conversation := find_conversation(value)):
            return _read_text(conversation.system, field)
        return _read_text(value, field)

    def _reference(self, row: _Row, field: str, options: tuple[str, ...], labels: tuple[str, ...]) -> str:
        """Return the reference; the label of an option gives the option's text."""
        if self.templates[field]:
            return self._text(row, field)
        value = self._value(row, field)
        text = _read_text(value, field)
        if text in options:
            return text
        if text in labels:
            return options[labels.index(text)]
        return text

    def _options(self, row: _Row, query: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the texts of the options, and their labels if the row has some."""
        field = self.fields.get("options")
        if field is None:
            return find_options(query), ()
        value = self._value(row, field)
        if isinstance(value, str):
            value = _parse_cell(value)
        if isinstance(value, Mapping):
            texts, labels = value.get("text"), value.get("label")
            if isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels):
                return _read_texts(texts, field), _read_texts(labels, field)
            known = {label: text for label, text in value.items() if text is not None}
            return _read_texts([*known.values()], field), tuple(map(str, known))
        if isinstance(value, list) and value and all(isinstance(one, Mapping) and "text" in one for one in value):
            labels = [one.get("label") for one in value]
            return _read_texts([one["text"] for one in value], field), _read_texts(labels, field)
        return _read_texts(value, field), ()


_NOTHING = object()
_SCALARS = (int, float, Decimal, date, time)


def _parse_cell(text: str) -> object:
    """Return the list that a cell of CSV holds as JSON, or the text itself."""
    with contextlib.suppress(ValueError, RecursionError):
        if text.lstrip()[:1] == "[":
            return json.loads(text)
    return text


def _read_text(value: object, key: str) -> str:
    """Return a value, or the first of a list, as stripped text; "" if absent. Raises ValueError if it is not text."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, str):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if not isinstance(value, _SCALARS):
            raise ValueError(f"the value at {key!r} is not text")
    text = str(value).strip().removesuffix(_END_OF_TEXT).strip()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half a character (a lone surrogate)") from None
    return text


def _read_texts(value: object, key: str) -> tuple[str, ...]:
    """Return the texts of a list, () if it is absent. Raises ValueError if it is not a list of texts."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"the value at {key!r} is not a list")
    return tuple(_read_text(one, key) for one in value)
