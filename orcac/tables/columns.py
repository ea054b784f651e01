"""The columns that a file has, looked up without reading it: a wrong key is an error before anything is made.

This runs whenever a spec is compiled, so it reads the head of a file and imports no Arrow. Rows of JSON need not have
the same keys. If none of the first rows has a key, its name is searched for in the rest of the bytes, which costs less
than the digest that the compiler makes of them. The reader, which looks at every row, decides on the rest.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

from orcac.tables.content import find_compression, open_content
from orcac.tables.delimited import read_header
from orcac.tables.footer import Column, read_columns
from orcac.tables.paths import lookup
from orcac.tables.rows import BadRow, find_form, read_rows

__all__ = ["find_fault", "find_missing"]

_FIRST_ROWS = 100
_MOST_UNPACKED = 16 << 20  # bytes that are searched for a name
_NOTHING = object()


def find_missing(
    path: Path, format: str, keys: Collection[str], needed: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Return those of `keys`, paths or columns, that no row of a file can have, and the columns that it has.

    needed: the keys that each row must have, which are missing if none of the first rows has them

    Both are empty if none is missing, or if no row can be read. Raises InputError if the file is not a table.
    """
    form = find_form(path, format)
    if form == "parquet":
        return _find_missing_of_parquet(path, keys)
    if form in ("csv", "tsv"):
        names, _ = read_header(path, "," if form == "csv" else "\t")
        missing = [key for key in keys if key not in names]
        return missing, names if missing else []
    missing, columns, is_whole = _look_at_rows(path, format, keys)
    if missing and not is_whole:
        missing = [key for key in missing if key in needed or not _may_occur(path, key)]
    return missing, columns if missing else []


def find_fault(path: Path, format: str, needed: Collection[str]) -> tuple[str, str]:
    """Return (key, message) if the first rows of a file show that none is of use; ("", "") if they do not.

    needed: the keys that must have a text in each row; the key in the result is "" if the rows cannot be read at all

    Raises InputError if the file is not a table. The rows of Parquet are not looked at.
    """
    if find_form(path, format) == "parquet":
        return "", ""
    rows: list[object] = []
    bad: list[BadRow] = []
    open_keys = dict.fromkeys(needed)
    for row in islice(read_rows(path, format, needed), _FIRST_ROWS):
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        rows.append(row[1])
        open_keys = {key: None for key in open_keys if not _has(row[1], key) or _is_no_text(lookup(row[1], key))}
        if not open_keys:
            return "", ""
    size = len(rows) + len(bad)
    count = "only row" if size == 1 else f"first {size} rows"
    if not size:
        return "", f"{path.name} has no rows; write one JSON object a line, or name another file"
    if not rows:
        reason = f"{bad[0].line}: {bad[0].reason}"
        return "", f"{path.name}: no row can be read of the {count}: {reason}; {_suggest_form(bad[0].text)}"
    for key in open_keys:
        values = [lookup(row, key) for row in rows if _has(row, key)]
        if inner := next((name for value in values if isinstance(value, dict) for name in value), ""):
            return key, f"`{key}` is a map in the {count} of {path.name}; name a key in it, as in `{key}.{inner}`"
        if values:
            return key, f"`{key}` is empty in the {count} of {path.name}; name another key"
    return "", ""


def _is_no_text(value: object) -> bool:
    """Return whether a value is empty, or a map without a list of turns, so that it is no question or answer."""
    if isinstance(value, dict):
        return not any(isinstance(one, list) for one in value.values())
    return value is None or (isinstance(value, str) and not value.strip())


def _suggest_form(text: str) -> str:
    """Return the advice for a file whose rows begin with `text` and are not JSON objects."""
    line = text.strip()
    if line.startswith(("{'", "'")):
        return "write JSON, whose quotes are double: `json.dumps` in Python does so"
    if line.startswith('"'):
        return 'write an object in each line, as in {"question": "..."}, instead of a text'
    for separator, format in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        if separator in line and not line.startswith(("{", "[")) and " " not in line.split(separator)[0].strip():
            return f"if the file is a table with names in its first line, write `format: {format}`"
    if line.startswith("{"):
        return "write one JSON object a line"
    return 'write each row as a JSON object in a line of its own, as in {"question": "..."}'


def _look_at_rows(path: Path, format: str, keys: Collection[str]) -> tuple[list[str], list[str], bool]:
    """Return the keys that none of the first rows has, the columns of these rows, and whether they are all rows."""
    missing = dict.fromkeys(keys)
    columns: dict[str, None] = {}
    rows = iter(read_rows(path, format, keys))
    for row in islice(rows, _FIRST_ROWS):
        if not missing:
            return [], [], False
        if not isinstance(row, BadRow):
            columns |= dict.fromkeys(_list_columns(row[1]))
            for key in [key for key in missing if _has(row[1], key)]:
                del missing[key]
    if not columns:
        return [], [], False
    return [*missing], [*columns], next(rows, None) is None if missing else False


def _has(row: object, key: str) -> bool:
    """Return whether a row has a key, or could have it if a list of it were longer, or is a turn of a conversation."""
    if lookup(row, key, _NOTHING) is not _NOTHING:
        return True
    names = key.split(".")
    for count in range(1, len(names)):
        value, name = lookup(row, ".".join(names[:count])), names[count]
        if isinstance(value, list):
            return int(name) >= len(value) if name.isdecimal() else any(isinstance(one, dict) for one in value)
    return False


def _list_columns(row: dict[str, object]) -> Iterator[str]:
    """Yield the keys of a row, and those one level deeper."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def _may_occur(path: Path, key: str) -> bool:
    """Return whether all names of a path occur in a file of JSON, each in quotes."""
    names = [f'"{name}"'.encode() for name in key.split(".") if not name.isdecimal()]
    if find_compression(path):
        with open_content(path) as packed:
            head = packed.read(_MOST_UNPACKED)
        return len(head) == _MOST_UNPACKED or all(name in head for name in names)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(name) >= 0 for name in names) or content.find(f'"{key}"'.encode()) >= 0


def _find_missing_of_parquet(path: Path, keys: Collection[str]) -> tuple[list[str], list[str]]:
    columns = read_columns(path)
    missing = [key for key in keys if not _is_in(columns, key)]
    names = [
        f"{column.name}.{child.name}" if child else column.name
        for column in columns
        for child in (column.children if column.children and not column.is_list else [None])
    ]
    return missing, names if missing else []


def _is_in(columns: Sequence[Column], key: str) -> bool:
    """Return whether a path leads to a column, or into a list, which is not looked into."""
    name, _, rest = key.partition(".")
    for column in columns:
        if column.name == key or (
            column.name == name and (not rest or column.is_list or _is_in(column.children, rest))
        ):
            return True
    return False
