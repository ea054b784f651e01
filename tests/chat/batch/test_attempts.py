"""Tests of orcac/chat/batch/attempts.py."""

from __future__ import annotations

import pytest

from orcac.chat.batch.attempts import Attempts
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.settings import EndpointSettings

KEYS = [f"{n:02x}" * 16 for n in (1, 2, 3, 0)]  # the last ends in zeros, which NumPy strips from byte strings


@pytest.mark.parametrize(("mode", "most"), [("batch", 2), ("auto", 1)])
def test_an_unanswered_request_may_go_into_so_many_batches(mode: str, most: int) -> None:
    attempts = Attempts(KEYS, EndpointSettings(kind="openai", mode=mode, attempts=2))
    assert attempts.may_be_batched().tolist() == [True] * 4
    for number in range(1, most + 1):
        assert attempts.add_failures(pack_keys(KEYS[:1]), "not_answered")
        again = number < most
        assert attempts.may_be_batched().tolist() == [True, again, True, True], "in the order of sorted keys"
        assert attempts.count_unanswered() == again
    assert list(attempts.failures()) == [(KEYS[0], "not_answered")]


def test_failures_are_kept_by_key_until_the_request_is_settled() -> None:
    attempts = Attempts(KEYS, EndpointSettings(kind="openai", mode="batch"))
    attempts.add_failures(pack_keys(KEYS[2:]), "server")
    attempts.add_failures(pack_keys(KEYS[:1]), "quota")
    assert dict(attempts.failures()) == {KEYS[0]: "quota", KEYS[2]: "server", KEYS[3]: "server"}
    assert attempts.may_be_batched().tolist() == [True, False, True, True], "credit does not come back by asking again"
    attempts.clear_failures(attempts.keys == pack_keys(KEYS[2:3])[0])
    assert dict(attempts.failures()) == {KEYS[0]: "quota", KEYS[3]: "server"}


def test_requests_of_other_runs_are_ignored() -> None:
    attempts = Attempts(KEYS[:2], EndpointSettings(kind="openai", mode="batch"))
    assert not attempts.add_failures(pack_keys(KEYS[2:]), "not_answered")
    assert len(attempts) == 2 and not list(attempts.failures())
