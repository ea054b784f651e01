"""Tests of orcac/chat/failures.py and orcac/chat/error_body.py: error bodies of real servers, and transport errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.error_body import read_error
from orcac.chat.failures import ERRORS, SETTINGS, classify, refused_setting

BODIES = [json.loads(line) for line in Path(__file__).with_name("error_bodies.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("one", BODIES, ids=lambda one: f"{one['server']} {one['status']} {one['class']}")
def test_error_bodies_of_real_servers_are_classified(one: dict) -> None:
    status, body, expected = one["status"], one["body"], one["class"]
    assert expected in ERRORS
    assert classify(status, body, retry_after=one.get("retry_after")) == expected
    inner = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), dict) else body
    assert classify(status, inner, retry_after=one.get("retry_after")) == expected, "openai removes the outer key"
    if "wait" in one:
        assert read_error(body).wait_s == pytest.approx(one["wait"])


@pytest.mark.parametrize("code", [401, 402, 403, 404, 408, 429, 500, 503])
def test_an_error_that_arrives_with_status_200_counts_as_the_status_that_it_states(code: int) -> None:
    body = {"error": {"message": "no", "code": code}}
    assert classify(200, body) == classify(200, body["error"]) == classify(200, [body]) == classify(code, body)
    assert classify(200, {"error": {"message": "no", "code": str(code)}}) == classify(code, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "errors", "code", "message", "metadata", "raw", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from([200, 302, 400, 429, 500]), JSON)
def test_any_body_has_a_class_and_a_message(status: int, body: object) -> None:
    assert classify(status, body) in ERRORS
    assert isinstance(read_error(body).message, str) and refused_setting(body) in ("", *SETTINGS)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"message": "slow down", "retry_after": 5}}, 5),
        ({"message": "Retrying is possible in 1h2m3.5s: retry in 1h2m3.5s"}, 3723.5),
        ("wait 1 minute and 30 seconds", 90),
        ({"message": "busy", "retry_after_ms": 250}, 0.25),
        ([{"error": {"details": [{"retryDelay": "2s"}], "message": "retry in 2.5s"}}], 2),
        ({"message": "try again later"}, None),
        ({"message": "please retry, 3 of 5 replicas are busy"}, None),
        (None, None),
    ],
)
def test_the_wait_that_a_body_asks_for(body: object, seconds: float | None) -> None:
    assert read_error(body).wait_s == seconds


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
