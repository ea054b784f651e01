"""Tests of orcac/chat/failures.py: recorded error bodies of real servers, and transport errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.chat.failures import ERRORS, classify, refused_setting

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


@pytest.mark.parametrize(
    ("message", "setting"),
    [
        ("Unsupported value: 'temperature' does not support 0.7 with this model.", "temperature"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
        ("`temperature` may only be set to 1 when thinking is enabled.", "temperature"),
        ("invalid temperature: only 1 is allowed for this model", "temperature"),
        ("This model does not support the parameter: seed", "seed"),
        ("Unrecognized request argument supplied: seed", "seed"),
        ("Unsupported parameter: 'stop' is not supported with this model.", "stop"),
        ("'temperature' must be at most 1.5", ""),
        ("Invalid 'temperature': decimal above maximum value. Expected a value <= 2.", ""),
        ("Unrecognized request argument supplied: top_k", ""),
        ("the model does not support images", ""),
        ("The request had to stop. It is not supported here.", ""),
    ],
)
def test_the_setting_that_a_message_refuses(message: str, setting: str) -> None:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    assert refused_setting(body) == setting
    assert (classify(400, body) == "unsupported") >= bool(setting)


def test_the_setting_that_a_field_of_an_error_refuses() -> None:
    forbidden = {
        "detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    }
    assert refused_setting(forbidden) == "seed" and classify(422, forbidden) == "unsupported"
    named = {"message": "no", "param": "top_p", "code": "unsupported_parameter"}
    assert refused_setting({"error": named}) == "top_p"
    assert refused_setting({"error": named | {"code": "invalid_value"}}) == ""
    assert refused_setting("<html>") == ""
