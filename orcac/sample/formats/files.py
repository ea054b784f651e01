"""Reading text and JSON so that whatever is wrong with a row is told as `file:line: what`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orcac.errors import InputError


def broken(path: Path, where: int | str, what: str, *, fix: str) -> InputError:
    """The error for a bad row; `where` is its line number, or its place in a JSON document."""
    return InputError(f"{path}:{where}: {what}", fix=fix)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end), for the lines that hold something.

    Only "\\n" ends a line: `str.splitlines` would also split at Unicode separators, which texts contain.
    Raises InputError where the bytes are not UTF-8.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                line = raw.decode().removesuffix("\n")
            except UnicodeDecodeError as error:
                raise broken(path, number, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
            if line.strip():
                yield number, line


def count(path: Path) -> int:
    """How many lines hold something. The text is not decoded: a line of Unicode's own spaces counts."""
    with path.open("rb") as file:
        return sum(not line.isspace() for line in file)


def document(path: Path) -> Any:
    """The one JSON value that a file holds. Raises InputError, with line and column, where it is not JSON."""
    try:
        content = path.read_bytes()
        return _value(content.decode(json.detect_encoding(content)))
    except json.JSONDecodeError as error:
        where = f"{error.lineno}:{error.colno}"
        raise broken(path, where, f"not JSON: {error.msg}", fix="mend or download the file again") from error
    except UnicodeDecodeError as error:
        raise broken(path, 1, f"byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}", fix="mend or download the file again") from error


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file. Raises InputError where a line is no JSON object."""
    for number, line in lines(path):
        try:
            value = _value(line)
        except json.JSONDecodeError as error:
            raise broken(
                path,
                f"{number}:{error.colno}",
                f"not JSON: {error.msg}",
                fix="put one JSON object on each line; a file that is one JSON list must be split into lines",
            ) from error
        except (ValueError, RecursionError) as error:
            raise broken(path, number, str(error), fix="mend or remove the line") from error
        if not isinstance(value, dict):
            raise broken(path, number, "not a JSON object", fix='put an object, {"key": value, ...}, on each line')
        yield number, value


def _value(text: str) -> Any:
    """The value. Raises ValueError also for half a character, which no file of ours can hold, and for a number of
    thousands of digits; RecursionError for one that is nested too deep."""
    value = json.loads(text)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("a text holds half a character (a lone surrogate)") from error
    return value
