"""JSON as it is sent, received and logged: each request and answer goes through it several times, so it is orjson's.

orjson is strict where others are not. What it refuses, half characters (`"\\ud800"`) above all, is left to the standard
library: an answer is paid for in whatever form it comes.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: object) -> bytes:
    """`value` as compact JSON in UTF-8. Raises TypeError or ValueError for what JSON cannot hold.

    The bytes keep some kilobytes of room to grow: decode them where many are held.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def loads(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError where it is none, RecursionError where it is too deep."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)
