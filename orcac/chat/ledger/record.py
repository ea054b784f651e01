"""A record of the ledger: one request and what settles it, as a line of JSON.

Whoever reads one believes nothing: a field that is missing, of another type or out of all bounds makes the line no
record (`parsed`), and a record that somebody gives us must have the key of its request, too (`vetted`).
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import orjson

from orcac.chat.failures import ERRORS
from orcac.chat.keys import KEY_VERSION
from orcac.chat.messages import MAX_CAP, ChatRequest, ChatResponse, Message, served_caps
from orcac.chat.settings import Sampling
from orcac.chat.wire import dumps

Record = dict[str, Any]
Facts = tuple[int, int, int, int, int, bool]  # of a record: `segments.FACTS` but for its place

FAILURES = ("", *ERRORS)
KEPT = tuple(name for name, kind in ERRORS.items() if kind.recorded)
CODES = {name: code for code, name in enumerate(FAILURES)}
RESPONSE = ("text", "finish_reason", "input_tokens", "output_tokens", "latency_s", "error", "batched")
_FIELDS = frozenset(RESPONSE)
_LAST = 1e11  # seconds since 1970 that a calendar still has


def record_of(request: ChatRequest, response: ChatResponse) -> Record:
    """A record as a log holds it. The key is first: readers find it without parsing the line."""
    return {
        "key": request.key,
        "key_version": KEY_VERSION,
        "at": time.time(),
        **request_record(request),
        "response": {  # RESPONSE, written out: one is made for every answer
            "text": response.text,
            "finish_reason": response.finish_reason,
            "input_tokens": response.input_tokens,
            "output_tokens": response.output_tokens,
            "latency_s": response.latency_s,
            "error": response.error,
            "batched": response.batched,
        },
    }


def request_record(request: ChatRequest) -> Record:
    """The part of a record that holds the request, which `request_of` reads."""
    return {
        "request": {
            "model": request.model,
            "messages": [[role, content] for role, content in request.messages],
            "sampling": request.sampling.values,
            "origin": request.origin,
            "sample_index": request.sample_index,
        }
    }


def line_of(record: Record) -> bytes:
    return dumps(record) + b"\n"


def request_of(record: Record) -> ChatRequest:
    """The request that a record holds. Raises ValueError where its sampling is none."""
    request = record["request"]
    return ChatRequest(
        model=request["model"],
        messages=tuple(Message(*message) for message in request["messages"]),
        sampling=Sampling.model_validate(request["sampling"], strict=True),
        origin=request["origin"],
        sample_index=request["sample_index"],
    )


def response_of(record: Record) -> ChatResponse:
    return ChatResponse(**record["response"])


def facts_of(cap: int, response: ChatResponse) -> Facts:
    """What the index holds of a record, but for its place; `cap` is the request's max_tokens."""
    low, high = served_caps(cap, response)
    return low, high, response.input_tokens, response.output_tokens, CODES[response.error], response.batched


def cap_of(record: Record) -> int:
    return int(record["request"]["sampling"]["max_tokens"])


class Foreign(Exception):
    """Why a line of JSON is no record."""


class Flawed(Foreign):
    """What is wrong with a record."""


def parsed(line: bytes) -> Record:
    """The record in a line, under the key of this version.

    Raises ValueError for no JSON, Flawed for a record with a field that cannot be, Foreign for any other JSON.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        with contextlib.suppress(RecursionError):
            json.loads(line)
        raise Flawed("it holds half a character, or a number that is none") from None
    if type(record) is not dict or not type(record.get("request")) is type(record.get("response")) is dict:
        raise Foreign("it has no request and response")
    record["response"].setdefault("batched", False)  # absent from older logs
    try:
        if wrong := _wrong(record):
            raise Flawed(f"`{wrong}` cannot be {_told(record, wrong)}")
        if record.get("key_version") != KEY_VERSION:  # an older rule: it holds all that the key is made of
            record |= {"key": request_of(record).key, "key_version": KEY_VERSION}
    except KeyError as error:
        raise Flawed(f"it has no `{error.args[0]}`") from error
    except ValueError as error:
        raise Flawed("its sampling is none") from error
    return record


def vetted(line: bytes) -> Record:
    """`parsed` of a line that somebody gives us. Raises Flawed, too, where its key is not that of its request.

    Such a record would be taken for the answer to another question. What is in the ledger is believed: making a key
    takes as long as reading its line.
    """
    record = parsed(line)
    try:
        key = request_of(record).key
    except ValueError as error:
        raise Flawed("its sampling is none") from error
    if key != record["key"]:
        raise Flawed("its key is not that of its request")
    return record


def _wrong(record: Record) -> str:
    """The field that does not hold what it should, "" where all do. Written out: a table takes twice the time."""
    request, response = record["request"], record["response"]
    key, sampling = record["key"], request["sampling"]
    if type(key) is not str or (
        record.get("key_version") == KEY_VERSION and (len(key) != 32 or key.strip("0123456789abcdef"))
    ):
        return "key"
    if type(record["at"]) not in (float, int) or not 0 <= record["at"] < _LAST:
        return "at"
    if type(request["model"]) is not str:
        return "request.model"
    if type(request["messages"]) is not list or not request["messages"]:
        return "request.messages"
    for message in request["messages"]:
        if type(message) is not list or len(message) != 2 or not type(message[0]) is type(message[1]) is str:
            return "request.messages"
    if type(sampling) is not dict:
        return "request.sampling"
    if type(sampling["max_tokens"]) is not int or not 0 <= sampling["max_tokens"] <= MAX_CAP:
        return "request.sampling.max_tokens"
    if type(request["origin"]) is not str:
        return "request.origin"
    if type(request["sample_index"]) is not int or not 0 <= request["sample_index"] <= MAX_CAP:
        return "request.sample_index"
    if type(response["text"]) is not str:
        return "response.text"
    if type(response["finish_reason"]) is not str:
        return "response.finish_reason"
    if type(response["input_tokens"]) is not int or not 0 <= response["input_tokens"] <= MAX_CAP:
        return "response.input_tokens"
    if type(response["output_tokens"]) is not int or not 0 <= response["output_tokens"] <= MAX_CAP:
        return "response.output_tokens"
    if type(response["latency_s"]) not in (float, int) or not 0 <= response["latency_s"] < _LAST:
        return "response.latency_s"
    if type(response["error"]) is not str or (response["error"] and response["error"] not in KEPT):
        return "response.error"
    if type(response["batched"]) is not bool:
        return "response.batched"
    return "" if response.keys() <= _FIELDS else "response"


def _told(record: Record, field: str) -> str:
    """What stands in `field`, for people."""
    value: Any = record
    for name in field.split("."):
        value = value[name]
    return "what it is" if isinstance(value, dict | list) else json.dumps(value)[:60]
