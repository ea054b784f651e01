from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.failures import ERRORS, classify
from orcac.chat.messages import ANY_CAP, ChatRequest, ChatResponse, conversation, key_tail, served_caps, turn_tail
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


@given(st.text(), st.text())
def test_a_key_made_in_pieces_is_the_same(system: str, user: str) -> None:
    messages = conversation(system=system, user=user)
    content = json.dumps(messages, separators=(",", ":")).encode()
    assert key_tail(messages) == turn_tail(system=system, user=user) == content


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
    assert served_caps(100, replace(ended, finish_reason="length", output_tokens=100)) == (100, 100)
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


BODIES = [json.loads(line) for line in Path(__file__).with_name("error_bodies.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("one", BODIES, ids=lambda one: f"{one['server']} {one['status']} {one['class']}")
def test_error_bodies(one: dict) -> None:
    """What real servers answer, one a line of `error_bodies.jsonl`."""
    status, body, expected = one["status"], one["body"], one["class"]
    assert expected in ERRORS
    assert classify(status, body) == expected
    inner = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), dict) else body
    assert classify(status, inner) == expected, "the openai package takes the outer key away"


def test_transport_errors() -> None:
    assert classify(None, exception=TimeoutError()) == "timeout"
    assert classify(None, exception=ConnectionRefusedError()) == "unreachable"
    assert classify(None, exception=ConnectionResetError()) == "dropped"
    assert classify(None, exception=ValueError("no JSON")) == "malformed"
