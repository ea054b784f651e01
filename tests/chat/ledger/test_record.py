"""Tests of orcac/chat/ledger/record.py and orcac/chat/ledger/entry.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ledgers import request

from orcac.chat.ledger.entry import entry_of
from orcac.chat.ledger.record import (
    DamagedRecord,
    InvalidRecord,
    NotARecord,
    cap_of,
    line_of,
    parse_and_verify,
    parse_record,
    record_of,
    request_of,
    response_of,
)
from orcac.chat.messages import MAX_CAP, ChatResponse

RECORD = record_of(request("q"), ChatResponse(text="a", finish_reason="stop", output_tokens=3))


def without(name: str) -> dict[str, object]:
    return {other: value for other, value in RECORD.items() if other != name}


def changed(part: str, field: str, value: object) -> dict[str, object]:
    fields: Any = RECORD[part]  # type: ignore[literal-required]
    return {**RECORD, part: {**fields, field: value}}


def test_a_record_is_one_line_that_begins_with_its_key() -> None:
    line = line_of(RECORD)
    assert line.startswith(b'{"key":"%b","key_version":2,"at":' % RECORD["key"].encode())
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert parse_record(line) == parse_and_verify(line) == RECORD


def test_a_changed_line_does_not_match_its_checksum() -> None:
    line = line_of(RECORD)
    for changed_line in (line.replace(b'"q"', b'"r"'), line.replace(b'"a"', b'"b"'), line[:-4] + b'g"}\n'):
        with pytest.raises(DamagedRecord, match="checksum"):
            parse_record(changed_line)
    forged = line.replace(b'"text":"a"', b'"text":"b"')
    with pytest.raises(DamagedRecord):
        parse_and_verify(forged)
    content = json.loads(line)
    assert parse_record(json.dumps(content, indent=1).encode()) == RECORD, "another program may write it otherwise"
    del content["crc"]
    assert parse_record(json.dumps(content).encode()) == RECORD, "older lines have no checksum"


def test_reasoning_and_a_refusal_are_recorded_only_if_there_are_some() -> None:
    assert not RECORD.keys() & {"reasoning", "refusal"}
    response = ChatResponse(reasoning="why", refusal="no", finish_reason="stop")
    record = parse_record(line_of(record_of(request("q"), response)))
    assert response_of(record) == response
    assert record["response"].keys() == RECORD["response"].keys(), "older versions accept no further field there"


def test_a_record_gives_back_its_request_and_response() -> None:
    assert request_of(RECORD["request"]) == request("q") and cap_of(RECORD) == 1024
    assert response_of(RECORD) == ChatResponse(text="a", finish_reason="stop", output_tokens=3)


def test_omitted_settings_are_recorded_only_if_there_are_some() -> None:
    assert "omitted" not in RECORD
    response = ChatResponse(text="a", finish_reason="stop", omitted=("temperature", "top_p"))
    record = parse_record(line_of(record_of(request("q"), response)))
    assert record["omitted"] == ["temperature", "top_p"] and response_of(record) == response
    assert record["response"].keys() == RECORD["response"].keys(), "older versions accept no further field there"


@pytest.mark.parametrize(
    ("response", "entry"),
    [
        (ChatResponse(text="a", finish_reason="stop", input_tokens=7, output_tokens=3), (3, MAX_CAP, 7, 3, 0, False)),
        (ChatResponse(text="a", finish_reason="length", output_tokens=9, batched=True), (9, 9, 0, 9, 0, True)),
    ],
)
def test_an_index_entry_has_the_caps_the_tokens_and_the_failure(response: ChatResponse, entry: object) -> None:
    assert entry_of(9, response) == entry


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"at": 1.0}, "no request and response"),
        (7, "no request and response"),
        *[(without(part), "no request and response") for part in ("request", "response")],
        ({**RECORD, "response": None}, "no request and response"),
    ],
)
def test_json_without_request_and_response_is_not_a_record(value: object, message: str) -> None:
    with pytest.raises(NotARecord, match=message) as caught:
        parse_record(json.dumps(value).encode())
    assert not isinstance(caught.value, InvalidRecord)


IMPOSSIBLE: list[tuple[object, str]] = [
    (without("at"), "it has no `at`"),
    ({**RECORD, "response": {}}, "it has no `text`"),
    (changed("response", "more", 1), "`response` cannot be this list or object"),
    ({**RECORD, "key": "zz"}, '`key` cannot be "zz"'),
    ({**RECORD, "key": RECORD["key"][:31] + "A"}, "`key`"),
    ({**RECORD, "at": 1e300}, r"`at` cannot be 1e\+300"),
    ({**RECORD, "omitted": "temperature"}, "`omitted`"),
    ({**RECORD, "omitted": ["model"]}, "`omitted`"),
    ({**RECORD, "reasoning": None}, "`reasoning`"),
    ({**RECORD, "refusal": 1}, "`refusal`"),
] + [
    (changed(part, field, value), rf"`{part}\.{field}")
    for part, field, values in (
        ("request", "model", (5,)),
        ("request", "messages", ([], ["ab"], [["user", 5]])),
        ("request", "sample_index", (True, -1)),
        ("request", "sampling", (None, {"max_tokens": 2**40})),
        ("response", "text", (None,)),
        ("response", "finish_reason", (None,)),
        ("response", "input_tokens", (None, "seven", -5, True, 1.5)),
        ("response", "output_tokens", (2**40,)),
        ("response", "latency_s", ("1",)),
        ("response", "error", (None, 0, "timeout", "bad_request")),
        ("response", "batched", (None,)),
    )
    for value in values
]
HALF_CHARACTERS: list[tuple[object, str]] = [
    (changed("request", "model", "\ud800"), "half a character"),
    (changed("response", "text", "\ud800"), "half a character"),
    (changed("response", "latency_s", float("nan")), "NaN"),
]


@pytest.mark.parametrize(("value", "message"), IMPOSSIBLE + HALF_CHARACTERS)
def test_a_record_with_an_impossible_field_is_invalid(value: object, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message):
        parse_record(json.dumps(value).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"\0" * 40, line_of(RECORD)[:90]], ids=["empty", "brace", "zeros", "torn"])
def test_a_line_that_is_not_json_is_damage(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_record(line)


def test_a_record_of_an_older_rule_gets_its_present_key() -> None:
    old = {**RECORD, "key": 64 * "0", "key_version": 1}
    assert parse_record(json.dumps(old).encode()) == RECORD


def test_a_record_of_before_batches_was_answered_online() -> None:
    response = {name: value for name, value in RECORD["response"].items() if name != "batched"}
    assert parse_record(json.dumps({**RECORD, "response": response}).encode()) == RECORD


def test_a_record_from_elsewhere_must_have_the_key_of_its_request() -> None:
    with pytest.raises(InvalidRecord, match="not that of its request"):
        parse_and_verify(json.dumps(changed("request", "model", "another")).encode())
    sampling = {**RECORD["request"]["sampling"], "temperature": "1.0"}
    with pytest.raises(InvalidRecord, match="sampling is not valid"):
        parse_and_verify(json.dumps(changed("request", "sampling", sampling)).encode())
