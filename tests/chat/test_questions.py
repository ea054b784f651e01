"""Tests of orcac/chat/questions.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.messages import ChatRequest
from orcac.chat.questions import Questions, distinct
from orcac.chat.settings import Sampling

TEMPLATE = ChatRequest(model="m", messages=(), sampling=Sampling(seed=3), origin="api", sample_index=2)
TEXTS = st.text(st.sampled_from("ab\0\x7f é\n"), max_size=2)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20))
def test_keys_are_those_of_the_requests_and_equal_texts_are_one_question(pairs: list[tuple[str, str]]) -> None:
    questions = Questions(TEMPLATE, lambda: pairs)
    requests = list(questions.requests())
    keys = [request.key for request in requests]
    assert [questions.key(n) for n in range(len(pairs))] == keys
    assert questions.first.tolist() == [key not in keys[:n] for n, key in enumerate(keys)]
    assert [request.key for request in questions.requests(questions.first)] == list(dict.fromkeys(keys))
    assert all((request.sample_index, request.sampling) == (2, TEMPLATE.sampling) for request in requests)
    first = questions.first
    questions.forget_keys()
    assert questions.first is first


@given(st.lists(st.sampled_from([bytes([n]) * 15 + bytes([end]) for n in range(4) for end in (0, 7)]), max_size=30))
def test_digests_are_sorted_and_numbered(digests: list[bytes]) -> None:
    found = distinct(digests)
    assert [key.ljust(16, b"\0") for key in found.keys.tolist()] == sorted(set(digests))
    assert [found.keys[n].ljust(16, b"\0") for n in found.inverse] == digests
    assert found.first.sum() == len(found.keys) and found.first.dtype == np.bool_
