"""Tests of orcac/chat/limits/limiter.py, with time as a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.limits.limiter import Limiter
from orcac.chat.messages import ChatResponse, RateHeaders
from orcac.chat.settings import EndpointSettings


def limiter(**settings: int) -> Limiter:
    return Limiter(EndpointSettings(kind="openai", **settings))


ANSWER = ChatResponse(text="x", finish_reason="stop", input_tokens=10, output_tokens=20)


def answer(limits: Limiter, *, at: float, latency_s: float = 1.0) -> None:
    limits.on_answer(at, ANSWER, sent_at=at - latency_s, charged=30)


def test_the_window_grows_only_while_it_is_full() -> None:
    limits = limiter(concurrency=100)
    first = limits.window
    answer(limits, at=1.0)
    assert limits.window == first
    for n in range(first):
        limits.on_full_window(1.0)
        answer(limits, at=1.0 + n / 100)
    assert limits.window == 2 * first, "slow start doubles with every round"
    at = 2.0
    while at < 6:
        limits.on_full_window(at)
        at += 1 / limits.window
        answer(limits, at=at)
    assert limits.window == 100


def test_each_overload_causes_one_cut() -> None:
    limits = limiter(concurrency=100, requests_per_minute=6000)
    assert limits.rate == 100
    for n in range(200):
        limits.on_send(n / 100, 1)
    limits.on_push_back(1.9, sent_at=1.5)
    assert limits.rate == 100, "a single push-back is not an overload"
    for _ in range(30):  # thirty requests of one overload are pushed back
        limits.on_push_back(2.0, sent_at=1.9)
    once = limits.rate
    assert 40 <= once < 60
    for n in range(3, 100):
        limits.on_send(n, 1)
        limits.on_push_back(n + 0.5, sent_at=n)
    assert 1 / 60 <= limits.rate < 2, "cuts continue while overloads do"


def test_the_rate_grows_again() -> None:
    limits = limiter(concurrency=100, requests_per_minute=6000)
    for _ in range(4):
        limits.on_send(0.0, 1)
        limits.on_push_back(0.1, sent_at=0.0)
    cut, now = limits.rate, 0.1
    while now < 60:
        now = max(now, limits.next_send_at)
        limits.on_send(now, 1)
        answer(limits, at=now, latency_s=0.1)
    assert cut < 5 and limits.rate == 100, "up to the declared rate"


def test_headers_lower_the_declared_rate_and_restore_it() -> None:
    limits = limiter(concurrency=1000, requests_per_minute=6000, tokens_per_minute=600_000)
    limits.on_headers(1.0, RateHeaders(requests_limit=600, requests_remaining=0, requests_reset_s=20))
    assert limits.rate == 10 and limits.next_send_at < 1, "the remaining allowance of an answer is out of date"
    limits.on_headers(2.0, RateHeaders(requests_limit=60_000))
    assert limits.rate == 100
    limits.live_jobs = 4
    assert limits.rate == 25
    limits.on_headers(3.0, RateHeaders(tokens_remaining=0, tokens_reset_s=20), pushed_back=True)
    assert limits.next_send_at == 4.0


def test_tokens_are_refunded() -> None:
    limits = limiter(concurrency=1000, tokens_per_minute=60)
    limits.on_send(0.0, 1030)
    assert limits.next_send_at == pytest.approx(1030, abs=1)
    limits.on_answer(1.0, ANSWER, sent_at=0.0, charged=1030)
    assert limits.next_send_at == pytest.approx(30, abs=1)


def test_a_pause_holds_every_request_back_and_is_never_shortened() -> None:
    limits = limiter(concurrency=10)
    limits.pause(until=20)
    limits.pause(until=5)
    assert limits.next_send_at == 20


@given(
    per_minute=st.integers(1, 6000),
    tokens_per_minute=st.integers(1, 100_000),
    gaps=st.lists(st.floats(0, 90), min_size=1, max_size=200),
    tokens=st.lists(st.integers(1, 3000), min_size=200, max_size=200),
)
def test_no_minute_exceeds_the_rates(
    per_minute: int, tokens_per_minute: int, gaps: list[float], tokens: list[int]
) -> None:
    """Send at random moments: every minute holds at most the rate, one request, and the credit for late timers."""
    limits = limiter(requests_per_minute=per_minute, tokens_per_minute=tokens_per_minute)
    now, sent = 0.0, []
    for gap, size in zip(gaps, tokens, strict=False):
        now = max(now + gap, limits.next_send_at)
        limits.on_send(now, size)
        sent.append((now, size))
    for start, _ in sent:
        minute = [size for at, size in sent if start <= at < start + 60]
        assert len(minute) <= per_minute * (60.1 / 60) + 1.001
        assert sum(minute[:-1]) <= tokens_per_minute * (60.1 / 60) * 1.001


def test_a_busy_sender_gets_its_whole_rate() -> None:
    limits, now, sent = limiter(requests_per_minute=600), 0.0, 0
    while now < 60:
        now = max(now, limits.next_send_at) + 0.03  # every timer is late
        limits.on_send(now, 1)
        sent += 1
    assert sent == pytest.approx(600, rel=0.01)
