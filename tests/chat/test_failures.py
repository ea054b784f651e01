"""Tests of orcac/chat/failures.py: recorded error bodies of real servers, and transport errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.chat.failures import ERRORS, classify

BODIES = [json.loads(line) for line in Path(__file__).with_name("error_bodies.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("one", BODIES, ids=lambda one: f"{one['server']} {one['status']} {one['class']}")
def test_error_bodies_of_real_servers_are_classified(one: dict) -> None:
    status, body, expected = one["status"], one["body"], one["class"]
    assert expected in ERRORS
    assert classify(status, body) == expected
    inner = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), dict) else body
    assert classify(status, inner) == expected, "the openai package removes the outer key"


def test_transport_errors_are_classified() -> None:
    assert classify(None, exception=TimeoutError()) == "timeout"
    assert classify(None, exception=ConnectionRefusedError()) == "unreachable"
    assert classify(None, exception=ConnectionResetError()) == "dropped"
    assert classify(None, exception=ValueError("no JSON")) == "malformed"
