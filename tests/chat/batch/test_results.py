"""Tests of orcac/chat/batch/results.py."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from orcac.chat.batch.results import (
    RemoteBatch,
    count_whole_lines,
    index_lines,
    missing_result,
    parse_description,
    parse_result,
    read_line,
)
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import Sampling

REQUEST = ChatRequest(model="m", messages=conversation(system="", user="q"), sampling=Sampling(), origin="api")
RENAMED = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}


def line(status: int, body: object) -> bytes:
    return json.dumps({"custom_id": "0", "response": {"status_code": status, "body": body}, "error": None}).encode()


def test_an_answer_is_read_as_batched() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 11}}
    response = parse_result(line(200, body), REQUEST, ()).response
    assert response and (response.text, response.output_tokens, response.batched) == ("yes", 11, True)


@pytest.mark.parametrize(
    ("content", "error", "is_settled"),
    [
        (line(200, {"choices": "?"}), "malformed", False),
        (line(500, {"error": {"message": "down"}}), "server", False),
        (line(429, {"error": {"message": "no credit", "code": "insufficient_quota"}}), "quota", False),
        (line(400, {"error": {"message": "too long", "code": "context_length_exceeded"}}), "context_overflow", True),
        (b'{"custom_id": "0", "response": null, "error": {"code": "batch_expired"}}', "not_answered", False),
        (b'{"custom_id": "0", "response": null, "error": {"code": "?"}}', "server", False),
        (b'{"custom_id": "0", "response": null, "error": {"code": "rate_limit_exceeded"}}', "rate_limit", False),
        (b'{"custom_id": "0"}', "server", False),
    ],
)
def test_an_error_has_a_class_and_may_settle_the_request(content: bytes, error: str, is_settled: bool) -> None:
    result = parse_result(content, REQUEST, ())
    assert result.error == error and (result.response is not None) == is_settled


def test_the_message_of_an_error_in_a_list_is_read():
    result = parse_result(line(400, [{"error": {"message": "No such\n  user.", "code": 401}}]), REQUEST, ())
    assert result.message == "HTTP 400: No such user."


def test_a_refused_parameter_is_named_unless_the_request_was_sent_without_it() -> None:
    content = line(400, {"error": RENAMED})
    assert parse_result(content, REQUEST, ()).refused == "max_tokens"
    assert parse_result(content, REQUEST, ("max_tokens",)).refused == ""


def test_a_request_without_a_line_is_unanswered_or_shares_the_failure_of_its_batch() -> None:
    assert missing_result(RemoteBatch(id="b", status="expired"), REQUEST, ()).error == "not_answered"
    full = RemoteBatch(id="b", status="failed", code="token_limit_exceeded")
    assert full.found_queue_full and missing_result(full, REQUEST, ()).error == "not_answered"
    failed = RemoteBatch(id="b", status="failed", code="model_not_found", message="no model m")
    assert missing_result(failed, REQUEST, ()).error == "not_found"


def test_lines_are_found_again_and_damaged_ones_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    assert list(index_lines(path, 9)) == [] and count_whole_lines(path) == 0
    lines = [
        b'{"custom_id": "1"}',
        b"[]",
        b'{"custom_id": "9"}',
        b'{"custom_id": "x"}',
        b'{"custom_id": "0"}',
        b'{"cus',
    ]
    path.write_bytes(b"\n".join(lines))
    found = dict(index_lines(path, 9))
    with path.open("rb") as file:
        assert {number: read_line(file, offset).strip() for number, offset in found.items()} == {
            1: lines[0],
            0: lines[4],
        }
    assert count_whole_lines(path) == 5


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, RemoteBatch(id="b", status="unknown")),
        (
            {
                "status": "failed",
                "errors": {"data": ["?", {"code": "c", "message": "a\nb"}, {"code": "d"}]},
                "request_counts": {"completed": 3, "failed": "many"},
                "output_file_id": "f",
            },
            RemoteBatch(id="b", status="failed", code="c", message="a b", completed=3, output_file_id="f"),
        ),
        ({"status": "completed", "errors": [], "request_counts": None}, RemoteBatch(id="b", status="completed")),
    ],
)
def test_a_description_is_read_as_far_as_it_makes_sense(answer: dict[str, object], expected: RemoteBatch) -> None:
    assert parse_description({"id": "b", **answer}) == expected


def test_a_line_that_is_larger_than_any_answer_is_no_result_and_takes_little_memory(tmp_path: Path) -> None:
    path, small = tmp_path / "output.jsonl", b'{"custom_id": "1"}\n'
    many = b'{"custom_id": "2", "x": [' + b"[]," * 200_000 + b"0]}\n"
    with path.open("wb") as file:
        file.write(b'{"custom_id": "0", "x": "')
        for _ in range(60):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + small + many + small.replace(b"1", b"3").rstrip())
    tracemalloc.start()
    found = list(index_lines(path, 5))
    assert count_whole_lines(path) == 4
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [number for number, _ in found] == [1, 3] and peak < 50_000_000
    with path.open("rb") as file:
        assert read_line(file, found[0][1]) == small
