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

Rows whose fields are columns of texts are read as columns (`item.Texts`), which is several times faster.
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
from typing import TYPE_CHECKING

from orcac.errors import InputError
from orcac.sample.formats.conversation import find_conversation, lookup_turn
from orcac.sample.formats.item import Item, Texts
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source
from orcac.tables.batches import Batch, read_batches
from orcac.tables.columns import find_missing
from orcac.tables.content import strip_compression
from orcac.tables.paths import lookup
from orcac.tables.rows import BadRow, Row, read_rows
from orcac.tables.template import Template, list_keys

if TYPE_CHECKING:
    from orcac.tables.batches import Mask

NAMES = ("query", "reference", "references", "system", "task", "options")
_END_OF_TEXT = "<|endoftext|>"  # the end of texts in training files; it is not part of an answer
_MOST_NAMED = 20  # columns in a message
_Row = Mapping[str, object]


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items of a table of any form, or bad rows.

    Raises InputError for a file that is not a table or is damaged, a bad map, and a key that no row has.
    """
    keys = _find_keys(path, source)
    return items(read_rows(path, source.format, keys), path, name, source)


def read_texts(
    path: Path, name: str, source: Source, mask: Mask | None = None, *, whole: bool = True
) -> Iterator[Texts | Item | BadRow] | None:
    """Return the items that `read` yields, as columns where they are texts; None if the file has another form.

    mask: (rows,); only these rows are read, and nothing beyond the mask's end
    whole: if not, the references of items without options are left out

    The iterator raises InputError as `read` does, but a key that no row has is an error only without a mask.
    """
    keys = _find_keys(path, source)
    batches = read_batches(path, source.format, keys, mask)
    return None if batches is None else _read_batches(batches, path, name, source, is_all=mask is None, whole=whole)


def _read_batches(
    batches: Iterable[Batch], path: Path, name: str, source: Source, *, is_all: bool, whole: bool
) -> Iterator[Texts | Item | BadRow]:
    reader = _FileReader(path, name, source)
    for batch in batches:
        reader.note(batch.names())
        texts = reader.rows.read_texts(batch, whole=whole)
        if texts:
            reader.is_read = True
            yield texts
        else:
            yield from map(reader.read, batch.rows())
    if is_all:
        reader.check_missing()


def _find_keys(path: Path, source: Source) -> set[str]:
    """Return the keys of a file that a source reads. Raises InputError if no row of the file can have one of them."""
    keys = list_source_keys(source)
    missing, columns = find_missing(path, source.format, keys)
    if missing:
        raise _missing_error(path, missing, columns)
    return keys


def list_source_keys(source: Source) -> set[str]:
    """Return the keys of a file that a source reads."""
    return {key for field in source.fields.values() for key in list_keys(field)}


def items(rows: Iterable[Row | BadRow], path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the item of each (number from 1, row), or a bad row. `path` and `name` are the file's.

    Raises InputError for a bad map, and for a key that no row has.
    """
    reader = _FileReader(path, name, source)
    for row in rows:
        if not isinstance(row, BadRow):
            reader.note((row[1],))
        yield reader.read(row)
    reader.check_missing()


class _FileReader:
    """A reader of one file, which finds the keys that no row has. Raises InputError for a bad map."""

    def __init__(self, path: Path, name: str, source: Source) -> None:
        self.path, self.query, fields = path, source.fields.get("query"), source.fields
        if "query" not in fields or not set(fields) <= set(NAMES):
            raise InputError(
                f"{path}: `fields` has the keys {', '.join(sorted(fields)) or '(none)'}",
                fix=f"map `query` to a key of the file and, if you need them, {', '.join(NAMES[1:])}",
            )
        self.rows = _RowReader(source, Path(strip_compression(name)).stem)
        self.columns: dict[str, None] = {}
        self.is_read = False  # a row that is bad at one key is not read to the end

    def note(self, rows: Iterable[Iterable[str]]) -> None:
        """Note the columns of rows, for the message of `check_missing`."""
        for row in rows if self.rows.missing else ():
            if len(self.columns) >= _MOST_NAMED:
                break
            self.columns |= dict.fromkeys(row)

    def read(self, row: Row | BadRow) -> Item | BadRow:
        """Return the item of a row, or the bad row."""
        if isinstance(row, BadRow):
            return row
        number, values = row
        try:
            item = self.rows.read(values, number)
            self.is_read = True
        except ValueError as error:
            return BadRow(number, str(error), json.dumps(values, ensure_ascii=False, default=str))
        return item

    def check_missing(self) -> None:
        """Raise InputError for the keys that none of the rows has."""
        missing = self.rows.missing
        if self.columns and missing and (self.is_read or missing & {*list_keys(self.query or "")}):
            raise _missing_error(self.path, missing, self.columns)


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

    def read_texts(self, batch: Batch, *, whole: bool) -> Texts | None:
        """Return the items of a batch whose fields are columns of texts; None if they are not, or if one is bad."""
        fields = self.fields
        if (
            not {*fields} <= _TEXT_FIELDS
            or any(self.templates.values())
            or not all(map(batch.are_texts, fields.values()))
        ):
            return None
        queries = _strip_all(batch.texts(fields["query"]))
        if not all(queries):
            return None
        options = {index: found for index, query in enumerate(queries) if (found := find_options(query))}
        reference, named = fields.get("reference"), range(len(queries)) if whole else [*options]
        references = _strip_all(batch.texts(reference, None if whole else named)) if reference and named else []
        columns = {name: _strip_all(batch.texts(fields[name])) for name in ("task", "system") if name in fields}
        self._find_in(batch)
        return Texts(
            queries=queries,
            tasks=[task or self.stem for task in columns["task"]] if "task" in columns else [self.stem] * len(queries),
            options=options,
            references=dict(zip(named, references, strict=True)) if reference else {},
            systems=columns.get("system"),
        )

    def _find_in(self, batch: Batch) -> None:
        """Take the keys for which a batch has a value out of those that are missing."""
        for name, key in self.fields.items() if self.missing else ():
            if name == "system" or any(text is not None for text in batch.texts(key)):
                self.missing.discard(key)

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
_TEXT_FIELDS = {"query", "reference", "task", "system"}  # those that may be read as columns
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
    text = _strip(str(value))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half a character (a lone surrogate)") from None
    return text


def _strip(text: str) -> str:
    return text.strip().removesuffix(_END_OF_TEXT).strip()


def _strip_all(texts: Iterable[str | None]) -> list[str]:
    return ["" if text is None else _strip(text) for text in texts]


def _read_texts(value: object, key: str) -> tuple[str, ...]:
    """Return the texts of a list, () if it is absent. Raises ValueError if it is not a list of texts."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"the value at {key!r} is not a list")
    return tuple(_read_text(one, key) for one in value)
