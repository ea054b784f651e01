from __future__ import annotations

import subprocess
import sys

import pytest

from orcac.chat.messages import (
    ANY_CAP,
    ERRORS,
    ChatRequest,
    ChatResponse,
    classify,
    conversation,
    served_caps,
)
from orcac.chat.settings import Price, Sampling

REQUEST = ChatRequest(
    model="gpt-4",
    messages=conversation(system="Think.", user="What is 2 + 2?"),
    sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}),
    origin="api",
)


def test_the_key_is_pinned() -> None:
    """Answers are found by it for years: a change here is a new KEY_VERSION and a new digest below."""
    assert REQUEST.key == "3d4a586acf9d677ab193d684af0d1277"


def test_the_key_changes_with_whatever_determines_the_answer() -> None:
    from dataclasses import replace

    others = [
        replace(REQUEST, model="gpt-4-0314"),
        replace(REQUEST, messages=conversation(system="", user="What is 2 + 2?")),
        replace(REQUEST, messages=conversation(system="Think.", user="What is 2 + 2? ")),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": 1})),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, seed=7)),
        replace(REQUEST, origin="solver/1"),
        replace(REQUEST, sample_index=1),
    ]
    assert len({REQUEST.key, *(other.key for other in others)}) == 1 + len(others)
    reordered = Sampling(temperature=0.7, extra={"a": True, "top_k": 5})
    assert replace(REQUEST, sampling=reordered).key == REQUEST.key


def test_the_cap_is_not_in_the_key_but_decides_which_records_serve() -> None:
    from dataclasses import replace

    larger = replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, max_tokens=4096))
    assert larger.key == REQUEST.key
    ended = ChatResponse(text="x", finish_reason="stop", output_tokens=40)
    assert served_caps(100, ended) == (40, ANY_CAP)
    assert served_caps(100, replace(ended, output_tokens=0)) == (100, ANY_CAP), "nobody counted: its own cap held it"
    assert served_caps(100, replace(ended, finish_reason="length", output_tokens=100)) == (0, 100)
    assert served_caps(100, ChatResponse(error="context_overflow")) == (100, ANY_CAP)
    assert served_caps(100, ChatResponse(error="content_filter")) == (0, ANY_CAP)


def test_the_key_does_not_depend_on_the_process() -> None:
    code = (
        "from orcac.chat.messages import *; from orcac.chat.settings import Sampling;"
        "print(ChatRequest(model='gpt-4', messages=conversation(system='Think.', user='What is 2 + 2?'),"
        "sampling=Sampling(temperature=0.7, extra={'a': True, 'top_k': 5}), origin='api').key)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == REQUEST.key


def test_an_empty_system_message_is_not_sent() -> None:
    assert [message.role for message in conversation(system="", user="Hi")] == ["user"]


def test_bounds_hold_for_any_script() -> None:
    request = ChatRequest(
        model="m", messages=conversation(system="", user="数" * 10), sampling=Sampling(max_tokens=5), origin="api"
    )
    assert request.input_token_bound == 30 + 16
    assert request.usd_bound(Price(input=1e6, output=2e6)) == 46 + 10


def openai_error(message: str, *, type: str = "invalid_request_error", code: str | None = None) -> object:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def vllm_error(message: str, status: int, type: str) -> object:
    return {"object": "error", "message": message, "type": type, "param": None, "code": status}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # OpenAI
        (401, openai_error("Incorrect API key provided: sk-ab***yz.", code="invalid_api_key"), "auth"),
        (403, openai_error("Country not supported", type="request_forbidden"), "forbidden"),
        (404, openai_error("The model `gpt-9` does not exist", code="model_not_found"), "not_found"),
        (429, openai_error("Rate limit reached for gpt-4 in organization org-1 on requests per min (RPM): "
                           "Limit 3, Used 3, Requested 1. Please try again in 20s.",
                           type="requests", code="rate_limit_exceeded"), "rate_limit"),
        (429, openai_error("Request too large for gpt-4 in organization org-1 on tokens per min (TPM): "
                           "Limit 10000, Requested 12000.", type="tokens", code="rate_limit_exceeded"), "too_large"),
        (429, openai_error("You exceeded your current quota, please check your plan and billing details.",
                           type="insufficient_quota", code="insufficient_quota"), "quota"),
        (400, openai_error("Billing hard limit has been reached", code="billing_hard_limit_reached"), "quota"),
        (400, openai_error("This model's maximum context length is 4097 tokens. However, you requested 5360",
                           code="context_length_exceeded"), "context_overflow"),
        (400, openai_error("Unsupported parameter: 'max_tokens' is not supported with this model.",
                           code="unsupported_parameter"), "unsupported"),
        (400, openai_error("We could not parse the JSON body of your request."), "bad_request"),
        (500, openai_error("The server had an error while processing your request", type="server_error"), "server"),
        (503, openai_error("The engine is currently overloaded", type="server_error"), "server"),
        (503, openai_error("Slow down", type="server_error", code="slow_down"), "rate_limit"),
        # Azure
        (401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}, "auth"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}}, "not_found"),
        (429, {"error": {"code": "429", "message": "Requests have exceeded call rate limit. Retry after 26 s"}},
         "rate_limit"),
        (400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                         "management policy.", "param": "prompt", "code": "content_filter", "status": 400}},
         "content_filter"),
        # vLLM, without and with the outer key; Text Generation Inference; others
        (400, vllm_error("This model's maximum context length is 2048 tokens.", 400, "BadRequestError"),
         "context_overflow"),
        (404, {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}},
         "not_found"),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
               "error_type": "validation"}, "context_overflow"),
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}, "quota"),
        # what stands before a server
        (502, "<html><body>502 Bad Gateway</body></html>", "server"),
        (504, None, "server"),
        (408, "", "timeout"),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
    ],
)  # fmt: skip
def test_error_bodies(status: int, body: object, expected: str) -> None:
    assert expected in ERRORS
    assert classify(status, body) == expected
    inner = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), dict) else body
    assert classify(status, inner) == expected, "the openai package takes the outer key away"


def test_transport_errors() -> None:
    assert classify(None, exception=TimeoutError()) == "timeout"
    assert classify(None, exception=ConnectionRefusedError()) == "unreachable"
    assert classify(None, exception=ConnectionResetError()) == "dropped"
    assert classify(None, exception=ValueError("no JSON")) == "malformed"
