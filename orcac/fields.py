"""Fields of a row by name: a key as it is written, or a dotted path into nested objects and lists.

`messages.0.content` is the content of the first message; a row that has that very key is taken at its word.
"""

from __future__ import annotations

from typing import Any


def lookup(row: Any, path: str, absent: Any = None) -> Any:
    """What stands at `path`: None where that is null, also on the way; `absent` where there is nothing."""
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


__all__ = ["lookup"]
