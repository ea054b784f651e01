"""Tests of orcac/chat/messages.py: conversations, the bounds of a request, and the caps that a response serves."""

from __future__ import annotations

import dataclasses

from orcac.chat.messages import MAX_CAP, ChatRequest, ChatResponse, conversation, served_caps
from orcac.chat.settings import Price, Sampling


def test_an_empty_system_message_is_not_sent() -> None:
    assert [message.role for message in conversation(system="", user="Hi")] == ["user"]


def test_a_system_message_is_sent_under_the_role_that_the_model_knows() -> None:
    for role in ("system", "developer", "user"):
        assert conversation(system="Think.", user="Hi", system_role=role) == ((role, "Think."), ("user", "Hi"))
    assert conversation(system="Think.", user="Hi", system_role="none") == (("user", "Think.\n\nHi"),)
    assert conversation(system="", user="Hi", system_role="none") == (("user", "Hi"),)


def test_bounds_hold_for_any_script() -> None:
    request = ChatRequest(
        model="m", messages=conversation(system="", user="数" * 10), sampling=Sampling(max_tokens=5), origin="api"
    )
    assert request.input_token_bound == 30 + 16
    assert request.usd_bound(Price(input=1e6, output=2e6)) == 46 + 10


def test_an_answer_serves_the_caps_under_which_it_would_be_the_same() -> None:
    ended = ChatResponse(text="x", finish_reason="stop", output_tokens=40)
    assert served_caps(100, ended) == (40, MAX_CAP)
    uncounted = dataclasses.replace(ended, output_tokens=0)
    assert served_caps(100, uncounted) == (100, MAX_CAP), "without a count, only its own cap was surely enough"
    assert served_caps(100, dataclasses.replace(ended, finish_reason="length", output_tokens=100)) == (100, 100)
    for all_reasoning in ({"text": "<think>x"}, {"text": "<think>x</think>"}, {"text": "", "reasoning": "x"}):
        assert served_caps(100, dataclasses.replace(ended, **all_reasoning)) == (100, 100)
    for answered in ({"text": "<think>x</think>y"}, {"text": "", "reasoning": "x", "refusal": "no"}, {"text": ""}):
        assert served_caps(100, dataclasses.replace(ended, **answered)) == (40, MAX_CAP)
    assert served_caps(100, ChatResponse(error="context_overflow")) == (100, MAX_CAP)
    assert served_caps(100, ChatResponse(error="content_filter")) == (0, MAX_CAP)
