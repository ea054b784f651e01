"""Tests of orcac/chat/keys.py on the keys of 1,000 stored requests: if one changes, recorded answers are lost.

`stored_requests.jsonl` holds a request and its key a line, as KEY_VERSION 2 first made them. It is never made anew: a
new rule of keys gets a new KEY_VERSION and a file of its own. The requests vary in roles, scripts, control characters,
lone surrogates, lengths, sampling, origins and sample indices.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.chat.keys import KEY_VERSION, conversation_json, key_digest, key_prefix, messages_json
from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import RequestRecord, request_of
from orcac.chat.messages import ChatRequest, conversation

FILE = Path(__file__).with_name("stored_requests.jsonl")


def read(line: str) -> tuple[str, RequestRecord, ChatRequest]:
    record = json.loads(line)
    return record["key"], record["request"], request_of(record["request"])


STORED = [read(line) for line in FILE.read_text(encoding="ascii").splitlines()]


def is_utf8(request: RequestRecord) -> bool:
    """Return whether a log can hold the request; one with half a character is keyed, but its record is not read."""
    try:
        json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def test_there_are_1000_distinct_requests_of_this_key_version() -> None:
    assert KEY_VERSION == 2
    assert len({key for key, _, _ in STORED}) == len(STORED) == 1000


def test_a_request_has_the_key_under_which_it_was_stored() -> None:
    assert [request.key for _, _, request in STORED] == [key for key, _, _ in STORED]


def test_the_parts_of_a_key_make_the_stored_key() -> None:
    turns = 0
    for key, record, request in STORED:
        prefix = key_prefix(
            model=request.model,
            sampling=request.sampling,
            origin=request.origin,
            sample_index=request.sample_index,
        )
        assert key_digest(prefix, messages_json(request.messages)).hex() == key
        texts = dict(record["messages"])
        system, user = texts.get("system", ""), texts["user"]
        if request.messages == conversation(system=system, user=user):
            assert key_digest(prefix, conversation_json(system=system, user=user)).hex() == key
            turns += 1
    assert turns > 700


@pytest.mark.parametrize("wants_all", [True, False])
def test_a_ledger_finds_each_stored_request(tmp_path: Path, wants_all: bool) -> None:
    response = {"finish_reason": "stop", "input_tokens": 1, "output_tokens": 0, "latency_s": 0.5, "error": ""}
    with (tmp_path / "host-1-0.jsonl").open("w") as log:
        for number, (key, request, _) in enumerate(STORED):
            record = {"key": key, "key_version": KEY_VERSION, "at": float(number), "request": request}
            record["response"] = {"text": str(number), **response, "batched": False}
            log.write(json.dumps(record, separators=(",", ":")) + "\n")
    readable = [number for number, (_, request, _) in enumerate(STORED) if is_utf8(request)]
    assert 950 < len(readable) < 1000
    assert [record["key"] for record in read_records(tmp_path)] == [STORED[number][0] for number in readable]
    ledger = Ledger(tmp_path, wanted=None if wants_all else pack_keys(key for key, _, _ in STORED))
    for number, (_, _, request) in enumerate(STORED):
        answer = ledger.get(request)
        assert (answer and answer.text) == (str(number) if number in readable else None)
    ledger.close()
