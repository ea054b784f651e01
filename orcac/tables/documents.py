"""Rows of JSON that is not one object on each line: an array, a document, or objects over several lines.

An array is read element by element, however large it is. A document is one of

    {"data": [{...}, ...], ...}              the only list of objects in it, under any key
    {"question": ["a", "b"], "answer": ...}  a list for each column
    {"question": {"0": "a", "1": "b"}, ...}  a map from numbers for each column, as data frames write them
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from orcac.errors import InputError
from orcac.tables.content import AGAIN, open_content
from orcac.tables.text import BadRow, row_error

Row = tuple[int, dict[str, object]]

_CHUNK = 1 << 20
_MOST_BYTES = 1 << 30  # of a document, which is held in memory
_DECODER = json.JSONDecoder()
_SPACE = " \t\n\r"
_BETWEEN = _SPACE + ","  # objects that follow one another


def read_array(path: Path) -> Iterator[Row | BadRow]:
    """Yield (number from 1, object) of a JSON array, or a bad row. A comma after the last element is ignored.

    Raises InputError, with line and column, if the array is cut or not JSON.
    """
    with open_content(path) as file:
        for number, (value, text) in enumerate(_Elements(path, file).read(), start=1):
            if not isinstance(value, dict):
                yield BadRow(number, "not a JSON object", text)
            else:
                yield number, value


class _Elements:
    """The elements of an array, parsed from a buffer that grows only if an element does not fit."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.text, self.at, self.is_whole = "", 0, False
        self.line, self.column = 1, 1  # of the buffer's first character

    def read(self) -> Iterator[tuple[object, str]]:
        """Yield each element and its text."""
        if self._next() != "[":
            raise self._error("not a JSON array")
        self.at += 1
        while (character := self._next()) != "]":
            yield self._element()
            character = self._next()
            if character == ",":
                self.at += 1
            elif character != "]":
                raise self._error(
                    "a comma is missing" if character else "the array is not closed, so the file may be cut"
                )
        self.at += 1
        if self._next():
            raise self._error("more text after the end of the array")

    def _next(self) -> str:
        """Return the next character that is not white space, without taking it; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._grow():
                return ""

    def _element(self) -> tuple[object, str]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                if self._grow():
                    continue
                if isinstance(error, json.JSONDecodeError):
                    self.at = error.pos
                raise self._error(f"not JSON: {getattr(error, 'msg', error)}") from error
            if end == len(self.text) and self._grow():  # a number may go on
                continue
            text = self.text[self.at : end]
            self.at = end
            return value, text

    def _grow(self) -> bool:
        """Read more, as much as the buffer holds; return False at the end of the file."""
        chunk = b"" if self.is_whole else self.file.read(max(_CHUNK, len(self.text) - self.at))
        try:
            more = self.decode(chunk, not chunk)
        except UnicodeDecodeError as error:
            raise self._error("a byte that is not UTF-8, in the text after this place") from error
        if not chunk:
            self.is_whole = True
            return False
        taken = self.text[: self.at]
        self.column = len(taken) - taken.rfind("\n") if "\n" in taken else self.column + len(taken)
        self.line += taken.count("\n")
        self.text, self.at = self.text[self.at :] + more, 0
        return True

    def _error(self, problem: str) -> InputError:
        before = self.text[: self.at]
        line = self.line + before.count("\n")
        column = len(before) - before.rfind("\n") if "\n" in before else self.column + len(before)
        return row_error(self.path, f"{line}:{column}", problem, fix=AGAIN)


def read_objects(path: Path, keys: Collection[str]) -> Iterator[Row | BadRow]:
    """Yield the rows of a document, or of objects that follow one another. `keys` are the columns that matter.

    Raises InputError if the file is not JSON, or is a document of another form.
    """
    with open_content(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise InputError(
            f"{path}: a JSON document of more than {_MOST_BYTES >> 30} GiB", fix="write one object on each line instead"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise row_error(path, line, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
    values = list(_parse_values(path, text))
    rows = expand(values[0], keys, path) if len(values) == 1 and isinstance(values[0], dict) else values
    for number, value in enumerate(rows, start=1):
        yield (number, value) if isinstance(value, dict) else BadRow(number, "not a JSON object", str(value))


def _parse_values(path: Path, text: str) -> Iterator[object]:
    at = 0
    while at < len(text):
        if text[at] in _BETWEEN:
            at += 1
            continue
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            where = f"{error.lineno}:{error.colno}"
            raise row_error(path, where, f"not JSON: {error.msg}", fix=AGAIN) from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {error}", fix=AGAIN) from error
        yield value
        at = end


def expand(document: Mapping[str, object], keys: Collection[str], path: Path) -> list[object]:
    """Return the rows of a document; an object that is a row itself is the only one.

    Raises InputError if the rows could be in several places, or if columns differ in length.
    """
    names = {part for key in keys for part in (key, key.partition(".")[0])} & document.keys()
    if names:
        columns = [document[name] for name in names]
        if all(isinstance(column, dict) and all(map(str.isdecimal, column)) for column in columns):
            return _join({name: value for name, value in document.items() if isinstance(value, dict)}, path)
        if all(isinstance(column, list) and not _holds_objects(column) for column in columns):
            lists = {name: value for name, value in document.items() if isinstance(value, list)}
            return _join({name: dict(enumerate(value)) for name, value in lists.items()}, path)
        return [document]
    tables = {name: value for name, value in document.items() if isinstance(value, list) and _holds_objects(value)}
    if len(tables) > 1:
        raise InputError(
            f"{path}: the rows may be at {', '.join(map(repr, tables))}",
            fix="write one of these lists to a file of its own",
        )
    return [*next(iter(tables.values()))] if tables else [document]


def _holds_objects(values: Collection[object]) -> bool:
    return any(isinstance(value, dict) for value in values)


def _join(columns: Mapping[str, Mapping[object, object]], path: Path) -> list[object]:
    """Return a row for each place in the columns."""
    places = dict.fromkeys(place for column in columns.values() for place in column)
    if short := [name for name, column in columns.items() if len(column) < len(places)]:
        raise InputError(f"{path}: the columns differ in length: {', '.join(short[:5])} lack rows", fix=AGAIN)
    return [{name: column[place] for name, column in columns.items()} for place in places]
