"""Tests of orcac/chat/keys.py and orcac/chat/settings.py: keys never change within a KEY_VERSION."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.keys import conversation_json, messages_json
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import Sampling, SystemRole

REQUEST = ChatRequest(
    model="gpt-4",
    messages=conversation(system="Think.", user="What is 2 + 2?"),
    sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}),
    origin="api",
)


NESTED: list[dict[str, object]] = [
    {"stop": ["x"]},
    {"stop": "x"},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"chat_template_kwargs": {"enable_thinking": 0}},
    {"reasoning": {"effort": "high", "exclude": [1, 2.5]}},
]


def test_the_key_is_pinned() -> None:
    """Answers are found by their keys for years: a change here needs a new KEY_VERSION and a new digest below."""
    assert REQUEST.key == "3d4a586acf9d677ab193d684af0d1277"


@given(st.text(), st.text(), st.sampled_from(get_args(SystemRole)))
def test_both_ways_to_encode_a_conversation_give_the_same_bytes(system: str, user: str, role: SystemRole) -> None:
    messages = conversation(system=system, user=user, system_role=role)
    content = json.dumps(messages, separators=(",", ":")).encode()
    assert messages_json(messages) == conversation_json(system=system, user=user, system_role=role) == content


def test_the_key_changes_with_every_field_that_determines_the_answer() -> None:
    others = [
        replace(REQUEST, model="gpt-4-0314"),
        replace(REQUEST, messages=conversation(system="", user="What is 2 + 2?")),
        replace(REQUEST, messages=conversation(system="Think.", user="What is 2 + 2? ")),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": 1})),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, seed=7)),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, stop=("Q:",))),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, reasoning="off")),
        replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, reasoning=2000)),
        *(
            replace(REQUEST, messages=conversation(system="Think.", user="What is 2 + 2?", system_role=role))
            for role in ("developer", "user", "none")
        ),
        *(replace(REQUEST, sampling=Sampling(extra=extra)) for extra in NESTED),
        replace(REQUEST, origin="solver/1"),
        replace(REQUEST, sample_index=1),
    ]
    assert len({REQUEST.key, *(other.key for other in others)}) == 1 + len(others)
    reordered = Sampling(temperature=0.7, extra={"a": True, "top_k": 5})
    assert replace(REQUEST, sampling=reordered).key == REQUEST.key


def test_the_cap_is_not_in_the_key() -> None:
    larger = replace(REQUEST, sampling=Sampling(temperature=0.7, extra={"top_k": 5, "a": True}, max_tokens=4096))
    assert larger.key == REQUEST.key


def test_the_key_does_not_depend_on_the_process() -> None:
    code = (
        "from orcac.chat.messages import *; from orcac.chat.settings import Sampling;"
        "print(ChatRequest(model='gpt-4', messages=conversation(system='Think.', user='What is 2 + 2?'),"
        "sampling=Sampling(temperature=0.7, extra={'a': True, 'top_k': 5}), origin='api').key)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == REQUEST.key
