"""JSON as it is sent, received and logged. Each request and answer is encoded several times, hence orjson.

orjson is stricter than most encoders. Texts that it refuses, above all those with lone surrogates (`"\\ud800"`), go to
the standard library instead, because an answer is paid for in whatever form it arrives.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: object) -> bytes:
    """Return `value` as compact JSON in UTF-8. Raises TypeError or ValueError if JSON cannot express it.

    orjson over-allocates each result by some kilobytes, so decode results that are kept in large numbers.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def loads(content: bytes | str) -> Any:
    """Return the value of a JSON text. Raises ValueError if it is not JSON, RecursionError if it nests too deeply."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def replace_surrogates(text: str) -> str:
    """Return `text` with U+FFFD in place of each lone surrogate, which JSON can carry and a UTF-8 file cannot."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
