"""A record of the ledger: one request and the response that settles it, as a line of JSON.

A reader trusts no line. A line with a field that is missing, has another type or is out of bounds is not a record
(`parse_record`), and a record from elsewhere must also have the key of its request (`parse_and_verify`). A line ends
with the CRC-32 of the bytes before it; a line that does not match is damaged. Older lines have no checksum.

Newer fields of a response are fields of the record, since older versions accept no further field in `response`.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from typing import NotRequired, TypedDict, TypeGuard

import orjson

from orcac.chat.failures import ERRORS, OMISSIBLE
from orcac.chat.keys import KEY_VERSION
from orcac.chat.messages import MAX_CAP, ChatRequest, ChatResponse, Message
from orcac.chat.settings import Sampling
from orcac.chat.wire import dumps
from orcac.store.checksum import add_checksum, has_checksum, matches_checksum


class RequestRecord(TypedDict):
    """The fields of a `ChatRequest`."""

    model: str
    messages: list[list[str]]  # [[role, content], ...]
    sampling: dict[str, object]  # the fields of `Sampling`
    origin: str
    sample_index: int


class ResponseRecord(TypedDict):
    """The oldest fields of a `ChatResponse`; the newer ones are in the record."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    latency_s: float
    error: str
    batched: bool


class Record(TypedDict):
    """One line of a log."""

    key: str  # of the request: 32 hex digits
    key_version: int  # the rule by which the key was made
    at: float  # when it was written, in seconds since 1970
    request: RequestRecord
    response: ResponseRecord
    # further fields of the response, if they are not empty
    omitted: NotRequired[list[str]]
    reasoning: NotRequired[str]
    refusal: NotRequired[str]


FAILURES = ("", *ERRORS)
RECORDED_FAILURES = tuple(name for name, kind in ERRORS.items() if kind.recorded)
FAILURE_CODES = {name: code for code, name in enumerate(FAILURES)}
RESPONSE_FIELDS = ("text", "finish_reason", "input_tokens", "output_tokens", "latency_s", "error", "batched")
RECORD_FIELDS = frozenset(Record.__annotations__)
STORED_FIELDS = (*RESPONSE_FIELDS, "reasoning", "refusal")  # all fields of a response that a file holds as they are
_FIELDS = frozenset(RESPONSE_FIELDS)
_LATEST = 1e11  # seconds since 1970; later times overflow a calendar


def record_of(request: ChatRequest, response: ChatResponse) -> Record:
    """Return the record of a request settled now. Its key is first: readers find it without parsing the line."""
    record: Record = {
        "key": request.key,
        "key_version": KEY_VERSION,
        "at": time.time(),
        "request": request_record(request),
        "response": {  # written out, which is faster than a loop over RESPONSE_FIELDS: every answer comes through here
            "text": response.text,
            "finish_reason": response.finish_reason,
            "input_tokens": response.input_tokens,
            "output_tokens": response.output_tokens,
            "latency_s": response.latency_s,
            "error": response.error,
            "batched": response.batched,
        },
    }
    if response.omitted:
        record["omitted"] = list(response.omitted)
    if response.reasoning:
        record["reasoning"] = response.reasoning
    if response.refusal:
        record["refusal"] = response.refusal
    return record


def request_record(request: ChatRequest) -> RequestRecord:
    """Return the part of a record that holds the request; `request_of` reads it."""
    return {
        "model": request.model,
        "messages": [[role, content] for role, content in request.messages],
        "sampling": request.sampling.values,
        "origin": request.origin,
        "sample_index": request.sample_index,
    }


def line_of(record: Record) -> bytes:
    """Return a record as a line of a log, with its checksum and its line end."""
    return add_checksum(dumps(record))


def request_of(request: RequestRecord) -> ChatRequest:
    """Return the request that a record holds. Raises ValueError if its sampling is not valid."""
    return ChatRequest(
        model=request["model"],
        messages=tuple(Message(role, content) for role, content in request["messages"]),
        sampling=Sampling.model_validate(request["sampling"], strict=True),
        origin=request["origin"],
        sample_index=request["sample_index"],
    )


def response_of(record: Record) -> ChatResponse:
    """Return the response that a record holds, with the text as it came (`messages.separate_reasoning`)."""
    return ChatResponse(
        **record["response"],
        omitted=tuple(record.get("omitted", ())),
        reasoning=record.get("reasoning", ""),
        refusal=record.get("refusal", ""),
    )


def cap_of(record: Record) -> int:
    """Return the request's max_tokens."""
    cap = record["request"]["sampling"]["max_tokens"]
    assert isinstance(cap, int)
    return cap


class NotARecord(Exception):
    """A line of JSON that is not a record; the message gives the reason."""


class InvalidRecord(NotARecord):
    """A record with an impossible field, or without a required one."""


class DamagedRecord(ValueError):
    """A record whose content has changed since it was written."""


def parse_record(line: bytes) -> Record:
    """Return the record in a line, under the key of this version.

    Raises ValueError if the line is not JSON, NotARecord for JSON of another kind, InvalidRecord if a field is missing
    or impossible, and else DamagedRecord if the line does not match its checksum.
    """
    record, is_damaged = _parse(line)
    if is_damaged:
        raise DamagedRecord("its content does not match its checksum `crc`")
    return record


def parse_and_verify(line: bytes) -> Record:
    """Return the record in a line from elsewhere, after checking its key.

    Raises what `parse_record` raises, and InvalidRecord if the key is not that of the request: such a record would pass
    for the answer to another question. The ledger's own records are not checked, since making a key takes as long as
    reading its line.
    """
    record, is_damaged = _parse(line)
    try:
        key = request_of(record["request"]).key
    except ValueError as error:
        raise InvalidRecord("its sampling is not valid") from error
    if key != record["key"]:
        raise InvalidRecord("its key is not that of its request")
    if is_damaged:
        raise DamagedRecord("its content does not match its checksum `crc`")
    return record


def _parse(line: bytes) -> tuple[Record, bool]:
    """Return the record in a line, and whether it differs from its checksum."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        with contextlib.suppress(RecursionError):
            json.loads(line)
        raise InvalidRecord("it holds half a character, or NaN or an infinite number") from None
    if not _has_both_parts(record):
        raise NotARecord("it has no request and response")
    is_damaged = "crc" in record and not _matches_checksum(line, record)
    record["response"].setdefault("batched", False)  # absent from older logs
    try:
        if field := _find_invalid_field(record):
            raise InvalidRecord(f"`{field}` cannot be {_show_field(record, field)}")
        if record.get("key_version") != KEY_VERSION:  # an older rule: the record holds everything that a key is made of
            record["key"], record["key_version"] = request_of(record["request"]).key, KEY_VERSION
    except KeyError as error:
        raise InvalidRecord(f"it has no `{error.args[0]}`") from error
    except ValueError as error:
        raise InvalidRecord("its sampling is not valid") from error
    return record, is_damaged


def _matches_checksum(line: bytes, record: Record) -> bool:
    """Remove the checksum from a record, and return whether it is that of the line.

    A line that was written by another program, with other spaces or another order, is compared by its fields.
    """
    stated = record.pop("crc")  # type: ignore[typeddict-item]
    if matches_checksum(line):
        return True
    return not has_checksum(line) and stated == f"{zlib.crc32(dumps(record)):08x}"


def _has_both_parts(value: object) -> TypeGuard[Record]:
    """Return whether `value` is an object with a request and a response; `_find_invalid_field` checks their fields."""
    return type(value) is dict and type(value.get("request")) is type(value.get("response")) is dict


def _find_invalid_field(record: Record) -> str:
    """Return the path of the first field with an impossible value, or "". Raises KeyError if a field is missing.

    The checks are written out: a loop over a table takes twice the time.
    """
    request, response = record["request"], record["response"]
    key, sampling = record["key"], request["sampling"]
    if type(key) is not str or (
        record.get("key_version") == KEY_VERSION and (len(key) != 32 or key.strip("0123456789abcdef"))
    ):
        return "key"
    if type(record["at"]) not in (float, int) or not 0 <= record["at"] < _LATEST:
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
    if type(response["latency_s"]) not in (float, int) or not 0 <= response["latency_s"] < _LATEST:
        return "response.latency_s"
    if type(response["error"]) is not str or (response["error"] and response["error"] not in RECORDED_FAILURES):
        return "response.error"
    if type(response["batched"]) is not bool:
        return "response.batched"
    if "omitted" in record and (
        type(record["omitted"]) is not list
        or any(type(name) is not str or name not in OMISSIBLE for name in record["omitted"])
    ):
        return "omitted"
    if type(record.get("reasoning", "")) is not str:
        return "reasoning"
    if type(record.get("refusal", "")) is not str:
        return "refusal"
    return "" if response.keys() <= _FIELDS else "response"


def _show_field(record: Record, field: str) -> str:
    """Return the value of `field`, as JSON of 60 characters at most, for a message."""
    value: object = record
    for name in field.split("."):
        assert isinstance(value, dict)
        value = value[name]
    return "this list or object" if isinstance(value, dict | list) else json.dumps(value)[:60]
