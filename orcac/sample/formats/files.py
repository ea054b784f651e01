"""Readers of text and JSON whose errors give the place of the bad row, as `file:line: problem`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from orcac.errors import InputError

_AGAIN = "mend or download the file again"
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


def find_compression(path: Path) -> str:
    """Return the name of the method by which a file is compressed; "" if it is not."""
    with path.open("rb") as file:
        head = file.read(6)
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), "")


def row_error(path: Path, where: int | str, problem: str, *, fix: str) -> InputError:
    """Return the error for a bad row; `where` is its line number, or its place in a JSON document."""
    return InputError(f"{path}:{where}: {problem}", fix=fix)


def read_lines(path: Path, *, ends_whole: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for each line that is not blank.

    Only "\\n" ends a line: `str.splitlines` would also split at Unicode separators, which texts contain.
    If `ends_whole`, the last line must end as well, for rows whose last column may be cut without a trace.
    Raises InputError if the file has no lines, is cut, or is not UTF-8.
    """
    number, raw = 0, b"\n"
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode().removesuffix("\n")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, error) from error
            if "\0" in line:
                raise row_error(path, number, "a byte 0, which no text has", fix=_AGAIN)
            if line.strip():
                yield number, line
    if not number:
        raise row_error(path, 1, "the file is empty", fix=f"{_AGAIN}, or leave it out of the source's `path`")
    if ends_whole and not raw.endswith(b"\n"):
        raise row_error(
            path, number, "the last line has no end, so the file may be cut", fix=f"{_AGAIN}, or end the line"
        )


def _not_utf8(path: Path, number: int, error: UnicodeDecodeError) -> InputError:
    if method := find_compression(path):
        return row_error(path, number, f"the file is compressed ({method})", fix="decompress it")
    return row_error(path, number, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8")


def count_lines(path: Path) -> int:
    """Return the number of lines that are not blank. The text is not decoded: a line of Unicode spaces counts."""
    with path.open("rb") as file:
        return sum(not line.isspace() for line in file)


def read_document(path: Path) -> object:
    """Return the JSON value of a file. Raises InputError, with line and column, if the file is not JSON."""
    try:
        content = path.read_bytes()
        return _value(content.decode(json.detect_encoding(content)))
    except json.JSONDecodeError as error:
        where = f"{error.lineno}:{error.colno}"
        raise row_error(path, where, f"not JSON: {error.msg}", fix=_AGAIN) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path, 1, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}", fix=_AGAIN) from error


def read_records(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line number, object) of a JSON Lines file. Raises InputError if a line is not a JSON object."""
    for number, line in read_lines(path):
        try:
            value = _value(line)
        except json.JSONDecodeError as error:
            raise row_error(
                path,
                f"{number}:{error.colno}",
                f"not JSON: {error.msg}",
                fix="put one JSON object on each line, and split a JSON list into lines; download a cut file again",
            ) from error
        except (ValueError, RecursionError) as error:
            raise row_error(path, number, str(error), fix="mend or remove the line") from error
        if not isinstance(value, dict):
            raise row_error(path, number, "not a JSON object", fix='put an object, {"key": value, ...}, on each line')
        yield number, value


def _value(text: str) -> object:
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
