from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from faults import FaultServer

from orcac.chat import openai as module
from orcac.chat.messages import ERRORS, Action, ChatError, ChatRequest, ChatResponse, conversation
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import EndpointError


def request(**sampling: Any) -> ChatRequest:
    messages = conversation(system="Think.", user="q")
    return ChatRequest(model="m", messages=messages, sampling=Sampling(**sampling), origin="api")


def test_the_body_holds_the_sampling_and_nothing_that_is_not_set() -> None:
    assert module.body(request(temperature=0.7, max_tokens=9)) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Think."}, {"role": "user", "content": "q"}],
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 9,
    }
    more = module.body(request(seed=0, extra={"top_k": 5}))
    assert more["seed"] == 0 and more["top_k"] == 5


def completion(message: dict[str, object], **more: object) -> bytes:
    return json.dumps({"choices": [{"message": message, **more}]}).encode()


def test_answers_are_read() -> None:
    read = module.parse(completion({"content": "a\ud83d b"}, finish_reason="length"), latency_s=2.0)
    assert read == ChatResponse(text="a\ufffd b", finish_reason="length", latency_s=2.0)
    assert module.parse(completion({"content": None, "refusal": "No."}), latency_s=0).text == "No."
    assert module.parse(completion({"content": None}, finish_reason="content_filter"), latency_s=0).text == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"choices": [{"mess', b"[]", b"null", b"{}", b'{"choices": []}', b'{"choices": [{}]}',
     b'{"choices": [{"message": {"content": "a"}, "finish_reason": 1}]}',
     b'{"choices": [{"message": "hi"}]}', b'{"choices": [{"message": {"content": [1]}}]}', b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_answer_is_malformed(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a chat completion"):
        module.parse(content, latency_s=0)


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
    assert module.retry_after(headers, now=100.0) == seconds


def ask(base_url: str, *, timeout_s: float = 5) -> ChatResponse:
    async def go() -> ChatResponse:
        async with module.connect_to(base_url, timeout_s=timeout_s) as endpoint:
            return await endpoint.complete(request())

    return asyncio.run(go())


def test_an_answer_over_a_socket() -> None:
    with FaultServer() as server:
        answer = ask(server.base_url)
    assert (answer.text, answer.finish_reason) == ("answer to q", "stop")
    assert (answer.input_tokens, answer.output_tokens) == (7, 11)


@pytest.mark.parametrize(
    ("fault", "error", "retry_after"),
    [
        ("429", "rate_limit", None),
        ("429 with Retry-After", "rate_limit", 0.2),
        ("500", "server", None),
        ("malformed", "malformed", None),
        ("dropped", "dropped", None),
        ("400", "context_overflow", None),
        ("401", "auth", None),
        ("422", "bad_request", None),
    ],
)
def test_failures_over_a_socket(fault: Any, error: str, retry_after: float | None) -> None:
    with FaultServer(lambda question, before: fault) as server, pytest.raises(ChatError) as caught:
        ask(server.base_url)
    assert (caught.value.error, caught.value.retry_after) == (error, retry_after)


def test_a_slow_answer_is_a_timeout() -> None:
    with FaultServer(latency_s=0.5) as server, pytest.raises(ChatError, match=r"no answer in 0.1 s") as caught:
        ask(server.base_url, timeout_s=0.1)
    assert caught.value.error == "timeout"


def test_nobody_listens() -> None:
    with pytest.raises(ChatError) as caught:
        ask("http://127.0.0.1:9/v1")
    assert caught.value.error == "unreachable"


def test_loopback_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer() as server:
        assert ask(server.base_url).text


def connect(base_url: str | None = None) -> ChatResponse:
    async def go() -> ChatResponse:
        async with module.connect(EndpointSettings(kind="openai", api_key_env="MY_KEY", base_url=base_url)) as endpoint:
            return await endpoint.complete(request())

    return asyncio.run(go())


def test_a_missing_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("MY_KEY", " \n")
    with pytest.raises(EndpointError, match="set MY_KEY"):
        connect()


@pytest.mark.parametrize("key", ["sk-secret one", "sk-secret\none", "sk-secret\x00", "sk-secret-é"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "environ", {"MY_KEY": key})  # a real one holds no NUL
    with pytest.raises(EndpointError, match="set MY_KEY to the key alone") as caught:
        connect("http://127.0.0.1:9/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-secret", "sk-sec\\ret'"])
def test_the_key_is_masked_in_every_message(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {key}\n")
    with FaultServer() as server:
        assert connect(server.base_url).text
    with FaultServer(lambda question, before: "401") as server, pytest.raises(ChatError, match=r"\*\*\*") as caught:
        connect(server.base_url)
    assert "sec" not in str(caught.value)
    for text in (f"Illegal header value {key!r}", f"not a chat completion: {'x' * 290}{key}"):
        monkeypatch.setattr(module, "body", lambda request, text=text: (_ for _ in ()).throw(ValueError(text)))
        with pytest.raises(ChatError) as caught:
            connect("http://127.0.0.1:9/v1")
        assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000/v1", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:x/v1",
                "http://h:99999/v1", "http://h\x01/v1"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointError, match="http:// or https://"):
        ask(address)
    monkeypatch.setenv("MY_KEY", "sk-x")
    monkeypatch.setenv("OPENAI_BASE_URL", f"user:secret@{address}".replace("\x01", "\t"))
    with pytest.raises(EndpointError) as caught:
        connect()
    assert "secret" not in str(caught.value)


def test_a_request_that_cannot_leave_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org\n")
    with FaultServer() as server, pytest.raises(ChatError, match="header") as caught:
        ask(server.base_url)
    assert caught.value.error == "unsendable" and ERRORS["unsendable"].action is Action.STOP
    assert not server.asked
