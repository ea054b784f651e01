"""Tests of orcac/chat/health.py, with time as a number."""

from __future__ import annotations

import pytest

from orcac.chat.failures import ChatError
from orcac.chat.health import Health, Timing

TIMING = Timing()


def health(*, total: int = 1000, has_answered: bool = False, timing: Timing = TIMING) -> Health:
    return Health(now=0.0, total=total, has_answered=has_answered, timing=timing)


def fail(endpoint: Health, *, count: int, error: str, now: float) -> list[bool]:
    """Fail so many requests once each. Returns for each if its attempt counts."""
    return [endpoint.on_failed_attempt(now, key=str(n), error=error) for n in range(count)]


def test_attempts_do_not_count_during_a_short_outage_of_an_endpoint_that_has_answered() -> None:
    endpoint = health(has_answered=True, timing=Timing(outage_patience=60))
    assert fail(endpoint, count=20, error="server", now=1.0) == [True] * 9 + [False] * 11
    assert endpoint.on_failed_attempt(61.0, key="0", error="server"), "the outage lasts too long"
    endpoint.on_final_response(62.0, is_answer=True)
    assert endpoint.on_failed_attempt(63.0, key="0", error="server"), "others are answered, so the request is the cause"


@pytest.mark.parametrize(("error", "has_answered"), [("timeout", True), ("malformed", True), ("server", False)])
def test_other_attempts_always_count(error: str, has_answered: bool) -> None:
    assert all(fail(health(has_answered=has_answered), count=20, error=error, now=1.0))


def test_an_endpoint_that_calls_all_requests_bad_ends_the_run() -> None:
    endpoint = health()
    assert [endpoint.on_bad_request() for _ in range(10)] == [False] * 9 + [True]
    assert endpoint.rejects_all
    endpoint.on_final_response(1.0, is_answer=False)
    assert endpoint.rejects_all, "a refusal is not an answer"
    endpoint.on_final_response(2.0, is_answer=True)
    assert not endpoint.rejects_all and not endpoint.on_bad_request()


def test_nothing_fresh_is_sent_after_sixteen_failures_in_a_row() -> None:
    endpoint = health(has_answered=True)
    fail(endpoint, count=15, error="server", now=1.0)
    assert not endpoint.rejects_all
    fail(endpoint, count=1, error="server", now=1.0)
    assert endpoint.rejects_all
    endpoint.on_final_response(2.0, is_answer=True)
    assert not endpoint.rejects_all


@pytest.mark.parametrize(
    ("error", "retry_after", "now", "exhausted", "hopeless"),
    [
        ("auth", None, 0.0, False, True),
        ("rate_limit", None, 9.0, False, False),
        ("rate_limit", None, 11.0, False, True),
        ("rate_limit", 9.0, 0.0, False, False),
        ("rate_limit", 11.0, 0.0, False, True),
        ("server", None, 11.0, True, False),
        ("unreachable", None, 0.0, False, False),
        ("unreachable", None, 0.0, True, True),
    ],
)
def test_a_run_ends_when_no_request_can_be_answered(
    error: str, retry_after: float | None, now: float, exhausted: bool, hopeless: bool
) -> None:
    endpoint = health(timing=Timing(push_back_patience=10))
    failure = ChatError(error, "mock", retry_after=retry_after)
    assert endpoint.is_hopeless(now, failure, exhausted=exhausted) == hopeless


@pytest.mark.parametrize(("total", "most"), [(1000, 10), (3, 3)])
def test_a_run_ends_when_many_requests_are_out_of_attempts_with_no_answer_between_them(total: int, most: int) -> None:
    endpoint, failure = health(total=total), ChatError("server", "mock")
    for n in range(1, most + 1):
        endpoint.on_exhausted()
        assert endpoint.is_hopeless(0.0, failure, exhausted=True) == (n == most)
    endpoint.on_final_response(1.0, is_answer=True)
    assert not endpoint.is_hopeless(1.0, failure, exhausted=True)


def test_waits_grow_with_failures_but_stay_short_while_others_are_answered() -> None:
    endpoint = health()
    assert endpoint.longest_wait(0.0, "unreachable", failures=1) == 0.5
    assert endpoint.longest_wait(0.0, "unreachable", failures=20) == 0.5 * 2**7
    assert endpoint.longest_wait(0.0, "rate_limit", failures=20) == 1.0
    assert endpoint.longest_wait(0.0, "server", failures=20) == 0.03
    fail(endpoint, count=16, error="server", now=1.0)
    assert endpoint.longest_wait(0.0, "server", failures=20) == 0.5 * 2**7
