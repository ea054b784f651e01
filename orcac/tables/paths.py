"""Values inside a row, by dotted paths."""

from __future__ import annotations


def lookup(row: object, path: str, absent: object = None) -> object:
    """Return the value at a dotted path into nested JSON; None if it, or a value on the way, is null.

    Return `absent` if the path leads nowhere. If `row` has a key that equals the whole path, dots included, that key is
    used.
    """
    if isinstance(row, dict) and path in row:
        if row[path] is not None:
            return row[path]
        absent = None
    value = row
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name, absent)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None if value is None else absent
    return value
