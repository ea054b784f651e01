"""Tests of orcac/chat/endpoints/held.py."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.endpoints.held import DIGEST_BYTES, Held
from orcac.chat.messages import ChatResponse

QUESTION = st.integers(0, 6)
SAMPLE = st.integers(0, 3)


def digest(question: int) -> bytes:
    return hashlib.blake2b(bytes([question]), digest_size=DIGEST_BYTES).digest()


@given(
    wanted=st.lists(st.tuples(QUESTION, SAMPLE), max_size=12),
    put=st.lists(st.tuples(QUESTION, st.integers(0, 2), st.sampled_from(["", "a", "b" * 9000])), max_size=12),
)
def test_answers_are_those_of_a_dictionary(wanted, put):
    held = Held([(digest(question), sample) for question, sample in wanted], samples=3)
    expected: dict[tuple[int, int], ChatResponse] = {}
    for question, sample, text in put:
        place = held.find(digest(question))
        assert (place is not None) == any(question == one for one, _ in wanted)
        if place is not None:
            assert held.wants(place, sample) == ((question, sample) in wanted)
            if not held.wants(place, sample):
                continue
            expected[question, sample] = ChatResponse(text=text, finish_reason="stop")
            held.put(place, sample, expected[question, sample])
            assert held.has(place, sample) and held.is_empty(place) == (not text)
    for question, sample in wanted:
        place = held.find(digest(question))
        assert place is not None and held.get(place, sample) == expected.get((question, sample))


def test_without_wanted_questions_none_is_found():
    assert Held([], samples=1).find(digest(1)) is None
