"""Readers of text and JSON whose errors give the place of the bad row, as `file:line: problem`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from orcac.errors import InputError


def row_error(path: Path, where: int | str, problem: str, *, fix: str) -> InputError:
    """Return the error for a bad row; `where` is its line number, or its place in a JSON document."""
    return InputError(f"{path}:{where}: {problem}", fix=fix)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for each line that is not blank.

    Only "\\n" ends a line: `str.splitlines` would also split at Unicode separators, which texts contain.
    Raises InputError if the bytes are not UTF-8.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                line = raw.decode().removesuffix("\n")
            except UnicodeDecodeError as error:
                raise row_error(
                    path, number, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8"
                ) from error
            if line.strip():
                yield number, line


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
        raise row_error(path, where, f"not JSON: {error.msg}", fix="mend or download the file again") from error
    except UnicodeDecodeError as error:
        raise row_error(path, 1, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}", fix="mend or download the file again") from error


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
                fix="put one JSON object on each line; a file that is one JSON list must be split into lines",
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
