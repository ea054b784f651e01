"""Rows of CSV and TSV: texts by the names in the first row.

A text in quotes may hold the separator, line ends and, doubled, quotes (RFC 4180). Of TSV there is a second kind, in
which quotes are plain characters: a line that is not valid in quotes, but has the right number of tabs, is read so.

If the first row has no separator of the form, but another one (a tab, a semicolon), that one is used.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from orcac.tables.content import AGAIN
from orcac.tables.text import BadRow, Row, read_lines, row_error

_SEPARATORS = (",", "\t", ";")
csv.field_size_limit(64 << 20)  # characters; the library's own limit is shorter than some documents
_NUMBER_MISSING = ("NaN", "nan")  # the spelling of a missing number, since a cell has no type


class _Lines:
    """The lines of a file with their ends, which can be put back. Lines that are not text are marked."""

    def __init__(self, path: Path) -> None:
        self.source = read_lines(path, keeps_blank=True)
        self.waiting: list[tuple[int, str]] = []
        self.taken: list[tuple[int, str]] = []  # since the last call of `start`
        self.bad: BadRow | None = None  # among those taken

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.waiting:
            number, line = self.waiting.pop()
        else:
            found = next(self.source)
            if isinstance(found, BadRow):
                self.bad = self.bad or found
                number, line = found.line, found.text
            else:
                number, line = found
        self.taken.append((number, line))
        return line + "\n"

    def start(self) -> None:
        self.taken, self.bad = [], None

    def put_back(self) -> None:
        """Put all taken lines back but the first."""
        self.waiting.extend(reversed(self.taken[1:]))
        del self.taken[1:]


def read_header(path: Path, separator: str) -> tuple[list[str], str]:
    """Return the names in the first row, and the separator in use. Raises InputError if there is no first row."""
    lines = _Lines(path)
    best: list[str] = []
    first = next((line for line in lines if line.strip()), "")
    if lines.bad or not first:
        raise row_error(path, 1, lines.bad.reason if lines.bad else "the file has no rows", fix=AGAIN)
    for one in (separator, *_SEPARATORS):
        lines.waiting, lines.taken = [*reversed(lines.taken)], []
        try:
            names = [name.strip() for name in next(_parser(lines, one))]
        except csv.Error:
            continue
        if len(names) > 1 or not best:
            best, separator = names, one
        if len(names) > 1:
            break
    if not best:
        raise row_error(path, 1, "not a row of names", fix="write the names of the columns in the first row")
    return best, separator


def _parser(lines: Iterator[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator != "\t")


def read_delimited(path: Path, separator: str, keys: Collection[str]) -> Iterator[Row | BadRow]:
    """Yield (line number, {name: text}) of each row, or a bad row. A cell that is empty, or NaN, is None.

    Raises InputError if there are no names, or if two columns have a name of `keys`.
    """
    names, separator = read_header(path, separator)
    for name, count in Counter(names).items():
        if count > 1 and name in keys:
            raise row_error(path, 1, f"{count} columns are named {name!r}", fix="give each column a name of its own")
    lines = _Lines(path)
    is_header = True
    while True:
        lines.start()
        try:
            cells = next(_parser(lines, separator), None)
            problem = lines.bad.reason if lines.bad else ""
        except csv.Error as error:
            cells, problem = [], f"not valid in quotes: {error}"
        if cells is None:
            return
        if not cells and not problem:
            continue
        number, first = lines.taken[0]
        if is_header:
            is_header = False
            continue
        if problem or len(cells) != len(names):
            literal = first.split(separator)
            if separator == "\t" and len(literal) == len(names) and not lines.bad:
                cells, problem = literal, ""
                lines.put_back()
            elif not problem:
                problem = f"{len(cells)} cells, but {len(names)} columns"
        if problem:
            yield BadRow(number, problem, first)
            # a quote out of place may have taken good rows along, so each of its lines counts
            yield from (BadRow(place, f"in quotes that open on line {number}", line) for place, line in lines.taken[1:])
            continue
        yield (
            number,
            {
                name: None if cell in _NUMBER_MISSING or not cell else cell
                for name, cell in zip(names, cells, strict=True)
            },
        )
