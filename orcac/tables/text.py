"""Lines and JSON documents of text files; errors give the place of a bad row, as `file:line: problem`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orcac.errors import InputError
from orcac.tables.content import AGAIN, open_content

Row = tuple[int, dict[str, object]]  # its number, and its cells by column

LONGEST_LINE = 64 << 20  # bytes
_MOST_SHOWN = 300  # characters of a bad row


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    line: int  # from 1; of Parquet, of an array and of a document the number of the row
    reason: str
    text: str = ""  # its beginning
    file: str = ""  # the name of its file, once it has left its reader

    def __post_init__(self) -> None:
        shown = self.text[:_MOST_SHOWN].encode(errors="replace").decode()
        object.__setattr__(self, "text", shown)


def row_error(path: Path, where: int | str, problem: str, *, fix: str) -> InputError:
    """Return the error for a bad place in a file: its line number, or its place in a JSON document."""
    return InputError(f"{path}:{where}: {problem}", fix=fix)


def read_lines(
    path: Path, *, ends_whole: bool = False, keeps_blank: bool = False
) -> Iterator[tuple[int, str] | BadRow]:
    """Yield (line number from 1, line without its end) for each line, or a bad row; blank lines only if `keeps_blank`.

    Only "\\n" ends a line: `str.splitlines` would also split at Unicode separators, which texts contain.
    If `ends_whole`, the last line must end as well, for rows whose last column may be cut without a trace.
    Raises InputError if the file has no lines or is cut.
    """
    number, last = 0, b"\n"
    with open_content(path) as file:
        readline = file.readline
        while raw := readline(LONGEST_LINE):
            number, last = number + 1, raw
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                yield BadRow(
                    number, f"a line of more than {LONGEST_LINE >> 20} MiB", raw[:1000].decode(errors="replace")
                )
                while (rest := readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            try:
                line = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode().removesuffix("\n")
            except UnicodeDecodeError as error:
                shown = raw[:1000].decode(errors="replace")
                yield BadRow(number, f"byte {error.start} is not UTF-8", shown)
                continue
            if "\0" in line:
                yield BadRow(number, "a byte 0, which no text has", line)
            elif keeps_blank or line.strip():
                yield number, line
    if not number:
        raise row_error(path, 1, "the file is empty", fix=f"{AGAIN}, or leave it out of the source's `path`")
    if ends_whole and not last.endswith(b"\n"):
        raise row_error(
            path, number, "the last line has no end, so the file may be cut", fix=f"{AGAIN}, or end the line"
        )


def count_lines(path: Path) -> int:
    """Return the number of lines that are not blank. The text is not decoded: a line of Unicode spaces counts."""
    with open_content(path) as file:
        return sum(not line.isspace() for line in file)


def read_document(path: Path) -> object:
    """Return the JSON value of a file. Raises InputError, with line and column, if the file is not JSON."""
    try:
        with open_content(path) as file:
            content = file.read()
        return _parse_json(content.decode(json.detect_encoding(content)))
    except json.JSONDecodeError as error:
        where = f"{error.lineno}:{error.colno}"
        raise row_error(path, where, f"not JSON: {error.msg}", fix=AGAIN) from error
    except UnicodeDecodeError as error:
        raise row_error(path, 1, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}", fix=AGAIN) from error


def _parse_json(text: str) -> object:
    """Parse JSON. Raises RecursionError for a value that is nested too deep, ValueError if it is not JSON.

    ValueError is raised also for half a character, which cannot be written to a file, and for a number of thousands of
    digits.
    """
    value: object = json.loads(text)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("a text holds half a character (a lone surrogate)") from error
    return value


def parse_record(number: int, line: str) -> Row | BadRow:
    """Return (number, object) of a line of JSON Lines, or the bad row. A comma after the object is ignored.

    Its texts may hold half a character (a lone surrogate), which cannot be written to a file.
    """
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError as error:
        if (object_ := line.rstrip().removesuffix(",")) != line.rstrip() and object_.endswith("}"):
            return parse_record(number, object_)
        return BadRow(number, f"not JSON: {error.msg} (column {error.colno})", line)
    except (ValueError, RecursionError) as error:
        return BadRow(number, str(error), line)
    return (number, value) if isinstance(value, dict) else BadRow(number, "not a JSON object", line)


def read_records(path: Path) -> Iterator[Row | BadRow]:
    """Yield (line number, object) of a JSON Lines file, or a bad row."""
    for line in read_lines(path):
        yield line if isinstance(line, BadRow) else parse_record(*line)
