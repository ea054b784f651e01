"""Tests of orcac/chat/endpoints/completions.py."""

from __future__ import annotations

from typing import Any

import pytest

from orcac.chat.endpoints.completions import (
    build_body,
    error_message,
    find_dispensable,
    find_omitted,
    parse_error_body,
    parse_rate_headers,
    parse_retry_after,
)
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import Sampling

MESSAGES = [{"role": "system", "content": "Think."}, {"role": "user", "content": "q"}]
BODY = {"model": "m", "messages": MESSAGES, "temperature": 1.0, "top_p": 1.0, "max_tokens": 1024}


def request(**sampling: Any) -> ChatRequest:
    messages = conversation(system="Think.", user="q")
    return ChatRequest(model="m", messages=messages, sampling=Sampling(**sampling), origin="api")


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in BODY.items() if name not in names}


@pytest.mark.parametrize(
    ("sampling", "refused", "body"),
    [
        ({}, (), BODY),
        ({"temperature": 0.7, "max_tokens": 9}, (), {**BODY, "temperature": 0.7, "max_tokens": 9}),
        ({"seed": 0}, (), {**BODY, "seed": 0}),
        ({"seed": 3, "extra": {"top_k": 5, "seed": 4}}, (), {**BODY, "seed": 4, "top_k": 5}),
        ({"stop": ("\n\n",)}, (), {**BODY, "stop": ["\n\n"]}),
        ({}, ("top_p",), without("top_p")),
        ({}, ("top_p", "temperature"), without("top_p", "temperature")),
        ({"top_p": 0.5}, ("top_p",), {**BODY, "top_p": 0.5}),
        ({}, ("max_tokens",), {**without("max_tokens"), "max_completion_tokens": 1024}),
    ],
)
def test_a_body_has_the_sampling_without_refused_parameters(
    sampling: dict[str, Any], refused: tuple[str, ...], body: dict[str, object]
) -> None:
    assert build_body(request(**sampling), refused) == body


@pytest.mark.parametrize(
    ("reasoning", "effort", "is_on"), [("on", "medium", True), ("off", "none", False), (9, "medium", True)]
)
def test_reasoning_is_set_in_the_way_of_the_server_and_left_out_where_it_is_refused(
    reasoning: Any, effort: str, is_on: bool
) -> None:
    asked = request(reasoning=reasoning)
    assert build_body(asked) == {**BODY, "reasoning_effort": effort}
    assert build_body(asked, is_openai=False) == {**BODY, "chat_template_kwargs": {"enable_thinking": is_on}}
    error = {"error": {"message": "unknown", "param": "reasoning_effort", "code": "unsupported_parameter"}}
    assert find_dispensable(error, asked, may_omit=True) == "reasoning_effort"
    assert find_dispensable(error, asked) == ""
    assert build_body(asked, ("reasoning_effort",), may_omit=True) == BODY
    limit = ("reasoning limit",) if reasoning == 9 else ()  # no server keeps one
    assert find_omitted(asked, ()) == limit
    assert find_omitted(asked, ("reasoning_effort",)) == ("reasoning_effort", *limit)


def test_each_sample_of_a_seeded_model_has_a_seed_of_its_own() -> None:
    asked = request(seed=3)
    asked.sample_index = 2
    assert build_body(asked) == {**BODY, "seed": 5}
    asked.sampling = Sampling()
    assert build_body(asked) == BODY


@pytest.mark.parametrize(
    ("error", "sampling", "parameter"),
    [
        ({"param": "top_p", "message": "not supported"}, {}, "top_p"),
        ({"param": "top_p", "message": "not supported"}, {"top_p": 0.5}, ""),
        ({"param": None, "message": "'temperature' is not supported"}, {}, "temperature"),
        ({"param": "max_tokens", "message": "use max_completion_tokens"}, {}, "max_tokens"),
        ({"param": "max_tokens", "message": "it is too large"}, {}, ""),
        ({"param": "seed", "message": "not supported"}, {"seed": 1}, ""),
        ("text", {}, ""),
    ],
)
def test_a_parameter_is_dispensable_if_the_answer_is_the_same_without_it(
    error: object, sampling: dict[str, Any], parameter: str
) -> None:
    assert find_dispensable({"error": error}, request(**sampling)) == parameter
    assert find_dispensable(error, request(**sampling)) == parameter


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"detail": "not allowed"}', "not allowed"),
        (b'{"error": {"code": 7}}', '{"code": 7}'),
        (b"<html>", "<html>"),
        (b"", "an empty body"),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_message_of_an_error(content: bytes, message: str) -> None:
    assert error_message(parse_error_body(content)) == message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, now=100.0) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8.64s", 8.64), ("120ms", 0.12), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("2d", 172800), ("12", 12), ("0s", 0),
     ("", None), ("soon", None), ("6m x", None), ("-1s", None), ("inf", None)],
)  # fmt: skip
def test_durations_of_rate_headers(text: str, seconds: float | None) -> None:
    rates = parse_rate_headers({"x-ratelimit-reset-tokens": text})
    assert (rates and rates.tokens_reset_s) == (None if seconds is None else pytest.approx(seconds))


def test_refused_settings_are_left_out_and_named_if_that_is_allowed() -> None:
    asked = request(temperature=0.5, seed=3, stop=("#",))
    refused = ("temperature", "top_p", "seed", "stop")
    assert build_body(asked, refused, may_omit=True) == without("temperature", "top_p")
    assert find_omitted(asked, refused) == ("temperature", "seed", "stop")
    error = {"error": {"param": "stop", "code": "unsupported_parameter", "message": "no"}}
    assert find_dispensable(error, asked, may_omit=True) == "stop"
    assert find_dispensable(error, asked) == find_dispensable(error, request(), may_omit=True) == ""
