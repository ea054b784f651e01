"""The body of an error, in the forms that servers of chat completions give it, read into one value.

A body is an object with an `error` (an object, a list or a text), a bare object, a list of either, or a text. Gateways
put the error of the provider behind them into the text or into `metadata`. So the words of an error are searched in all
of its text, and its codes are collected from all fields that hold one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_DEPTH = 6  # the deepest nesting that is read; bodies are untrusted
_TEXT_LIMIT = 20_000  # characters of a body in which words are searched
_CODE_FIELDS = ("code", "type", "status", "reason", "error_type")
_MESSAGE_FIELDS = ("message", "detail", "msg", "error_message")
_ECHOES = ("input", "prompt", "flagged_input", "messages", "request")  # fields that repeat the request
_VAGUE = ("provider returned error", "error", "bad request", "")  # messages that give no reason

_SECONDS = (("ms", 0.001), ("milli", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0))  # by prefix
_PART = r"(\d+(?:\.\d+)?) ?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
_DURATION = rf"(?:{_PART}(?:,? (?:and )?)?)+"
_WAITS = (  # of lower-cased texts: a field that holds a wait, then prose that asks for one
    re.compile(
        r"retry[ _-]?(?:delay|after)(?:[ _-]?(?P<unit>ms|seconds?|s))?\W{1,6}(?P<number>\d+(?:\.\d+)?)(?![\w.])"
    ),
    re.compile(rf"retry[ _-]?(?:delay|after)(?:[ _-]?seconds?)?\W{{1,6}}(?P<duration>{_DURATION})"),
    re.compile(rf"(?:again|retry|wait|reset|replenished)[a-z ,:(]{{0,40}}?\b(?P<duration>{_DURATION})"),
)


class ErrorBody(NamedTuple):
    """An error as its body describes it."""

    message: str  # for a person: the server's words, and those of the provider behind it
    text: str  # all texts of the body, lower-cased
    codes: tuple[str, ...]  # lower-cased, the outermost first
    status: int | None  # the HTTP status that the body itself states
    parameter: str  # the field of the request that the error names
    wait_s: float | None  # the seconds that the error asks to wait


def read_error(body: object) -> ErrorBody:
    """Return the description of an error in `body`: parsed JSON, with or without its outer `error`, or text."""
    error = unwrap_error(body)
    beside = body.items() if isinstance(body, Mapping) and error is not body else ()
    fields = [*_fields(error), *((name, value) for name, value in beside if isinstance(value, str | int))]
    codes = [str(value).lower() for name, value in fields if name in _CODE_FIELDS and value is not None]
    parameter = next((value for name, value in fields if name == "param" and isinstance(value, str)), "")
    text = " ".join([*(f"{name} {value}" for name, value in fields if value is not None), *_plain(error)])
    text = " ".join(text[:_TEXT_LIMIT].replace("\\", "").lower().split())
    status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), None)
    return ErrorBody(_message(error), text, tuple(dict.fromkeys(codes)), status, parameter, _find_wait(text))


def unwrap_error(body: object) -> object:
    """Return the value of `error` in a body, or the first error in a list of them, or else the body itself."""
    for _ in range(_DEPTH):
        if isinstance(body, list) and body:
            body = next((one for one in body if isinstance(one, Mapping)), body[0])
        elif isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | list | str) and body["error"]:
            inner = body["error"]
            if isinstance(inner, str) and any(body.get(name) for name in _MESSAGE_FIELDS):
                break  # the name of an error, with its message beside it
            body = inner
        elif isinstance(body, Mapping) and isinstance(body.get("errors"), list) and body["errors"]:
            body = body["errors"]
        else:
            break
    return body


def _fields(value: object, depth: int = _DEPTH) -> Iterator[tuple[str, object]]:
    """Yield the (name, value) pairs of an error whose value is no container, also those of JSON inside a text."""
    if not depth:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _ECHOES:
                continue
            if name == "loc" and isinstance(inner, list):  # the path of a field, as pydantic writes it
                yield name, ".".join(map(str, inner))
            elif isinstance(inner, Mapping | list):
                yield from _fields(inner, depth - 1)
            else:
                yield str(name), inner
                yield from _fields(_parse_json(inner), depth - 1)
    elif isinstance(value, list):
        for inner in value[:100]:
            yield from _fields(inner, depth - 1)
            yield from (("", text) for text in _plain(inner))


def _plain(value: object) -> list[str]:
    return [value] if isinstance(value, str) else []


def _parse_json(value: object) -> object:
    """Return the object or list that a text consists of, or None."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return None


def _message(error: object) -> str:
    """Return the text of an error that a person should read."""
    if not isinstance(error, Mapping):
        return error if isinstance(error, str) else "" if error is None else json.dumps(error, default=str)
    found = next((error[name] for name in _MESSAGE_FIELDS if error.get(name)), None)
    if found is None:
        return json.dumps(error, default=str)
    message = found if isinstance(found, str) else json.dumps(found, default=str)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if raw and message.lower().strip(". ") in _VAGUE:
        message += f": {raw if isinstance(raw, str) else json.dumps(raw, default=str)}"
    return message


def _find_wait(text: str) -> float | None:
    """Return the seconds that a lower-cased text asks to wait."""
    for pattern in _WAITS:
        if found := pattern.search(text):
            groups = found.groupdict()
            if number := groups.get("number"):
                return float(number) * (0.001 if groups["unit"] == "ms" else 1.0)
            parts = re.findall(_PART, groups["duration"])
            return sum(
                float(count) * next(s for prefix, s in _SECONDS if unit.startswith(prefix)) for count, unit in parts
            )
    return None
