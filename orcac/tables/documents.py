"""Rows of JSON that is not one object on each line: an array, a document, or objects over several lines.

An array is read element by element, however large it is. A document is one of

    {"data": [{...}, ...], ...}              the only list of objects in it, under any key
    {"question": ["a", "b"], "answer": ...}  a list for each column
    {"question": {"0": "a", "1": "b"}, ...}  a map from numbers for each column, as data frames write them
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from orcac.errors import InputError
from orcac.tables.content import AGAIN, open_content
from orcac.tables.text import LONGEST_LINE, BadRow, Row, row_error

_CHUNK = 1 << 20
_LONGEST_TOKEN = 16  # characters; a parser may see half of one, such as `fals`, at the end of a buffer
_MOST_BYTES = 1 << 30  # of a document, which is held in memory
_DECODER = json.JSONDecoder()
_SPACE = " \t\n\r"
_BETWEEN = _SPACE + ","  # objects that follow one another


def read_array(path: Path) -> Iterator[Row | BadRow]:
    """Yield (number from 1, object) of a JSON array, or a bad row. A comma after the last element is ignored.

    An element that is torn is a bad row, with the text up to the next element that begins a line no further in
    than the elements before it. Raises InputError, with line and column, if there is no such element: the array is
    cut, or on one line, and the rows after this place cannot be found.
    """
    with open_content(path) as file:
        yield from _Elements(path, file).read()


class _Torn(Exception):
    """An element that is not JSON."""

    def __init__(self, problem: str, at: int) -> None:
        super().__init__(problem)
        self.problem, self.at = problem, at  # the place in the buffer


class _Elements:
    """The elements of an array, parsed from a buffer that grows only if an element does not fit.

    Bytes that are not UTF-8 are surrogates in the buffer.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self.text, self.at, self.is_whole = "", 0, False
        self.line, self.column = 1, 1  # of the buffer's first character
        self.count = 0  # rows so far, bad ones included
        self.space = ""  # between the last two tokens
        self.margin: int | None = None  # least number of spaces before an element that begins a line

    def read(self) -> Iterator[Row | BadRow]:
        if self._next() != "[":
            raise self._error("not a JSON array", self.at)
        self.at += 1
        while (character := self._next()) != "]":
            if "\n" in self.space:
                margin = len(self.space.rpartition("\n")[2])
                self.margin = margin if self.margin is None else min(margin, self.margin)
            try:
                yield self._element()
            except _Torn as torn:
                yield self._skip(torn.problem, torn.at)
                continue
            character = self._next()
            if character == ",":
                self.at += 1
            elif character != "]":
                if not character:
                    raise self._error("the array is not closed, so the file may be cut", self.at)
                yield self._skip("a comma is missing", self.at)
        self.at += 1
        if self._next():
            raise self._error("more text after the end of the array", self.at)

    def _next(self) -> str:
        """Return the next character that is not white space, without taking it; "" at the end."""
        self.space = ""
        while True:
            start = self.at
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            self.space += self.text[start : self.at]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._grow():
                return ""

    def _element(self) -> Row | BadRow:
        """Take the element at this place. Raises _Torn if it is not JSON."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                if self._may_be_whole_later(error) and self._grow():
                    continue
                if isinstance(error, json.JSONDecodeError):
                    raise _Torn(f"not JSON: {error.msg}", error.pos) from error
                raise _Torn(f"not JSON: {error}", self.at) from error
            if end == len(self.text) and self._grow():  # a number may go on
                continue
            text = self.text[self.at : end]
            self.at = end
            self.count += 1
            if not _is_utf8(text):
                return BadRow(self.count, "a byte that is not UTF-8", text)
            return (self.count, value) if isinstance(value, dict) else BadRow(self.count, "not a JSON object", text)

    def _may_be_whole_later(self, error: Exception) -> bool:
        """Return whether the end of the buffer may be the cause of an error."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos + _LONGEST_TOKEN > len(self.text)

    def _skip(self, problem: str, at: int) -> BadRow:
        """Go on to the next element that begins a line, or to the end of the array; return the text before as a row.

        Raises InputError, with the place `at` of the problem, if no further element begins a line.
        """
        error, where = self._error(problem, at), self._locate(at)
        while not (found := self._find_boundary()):
            if self.margin is None or self.is_whole or len(self.text) - self.at > LONGEST_LINE:
                raise error
            self._grow()
        text = self.text[self.at : found.start()]
        self.at, self.margin = found.end(), len(found[0]) - 1
        self.count += 1
        return BadRow(self.count, f"{problem} (line {where[0]}, column {where[1]})", text)

    def _find_boundary(self) -> re.Match[str] | None:
        """Return the end of a line before the next element, or before the array's last bracket.

        An element is no further in than the others, as an object inside it would be.
        """
        if self.margin is None:
            return None
        begin = re.compile(rf"\n[ \t]{{0,{self.margin}}}(?=\{{)").search(self.text, self.at + 1)
        if begin or not self.is_whole:
            return begin
        return re.compile(rf"\n[ \t]{{0,{max(0, self.margin - 1)}}}(?=\]\s*\Z)").search(self.text, self.at)

    def _grow(self) -> bool:
        """Read more, as much as the buffer holds; return False at the end of the file."""
        chunk = b"" if self.is_whole else self.file.read(max(_CHUNK, len(self.text) - self.at))
        more = self.decode(chunk, not chunk)
        if not chunk:
            self.is_whole = True
            return False
        self.line, self.column = self._locate(self.at)
        self.text, self.at = self.text[self.at :] + more, 0
        return True

    def _locate(self, at: int) -> tuple[int, int]:
        """Return the line and the column, from 1, of a place in the buffer."""
        before = self.text[:at]
        column = len(before) - before.rfind("\n") if "\n" in before else self.column + len(before)
        return self.line + before.count("\n"), column

    def _error(self, problem: str, at: int) -> InputError:
        line, column = self._locate(at)
        rows = f"; rows before this place: {self.count:,}" if self.count else ""
        return row_error(self.path, f"{line}:{column}", problem + rows, fix=AGAIN)


def _is_utf8(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


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
