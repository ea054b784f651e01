from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.limiter import Limiter
from orcac.chat.settings import EndpointSettings


def limiter(**settings: int) -> Limiter:
    return Limiter(EndpointSettings(kind="openai", **settings))


def test_the_window_grows_only_while_it_holds_the_sender_back() -> None:
    limits = limiter(concurrency=100)
    first = limits.window
    limits.answered()
    assert limits.window == first
    limits.full = True
    for _ in range(first):
        limits.answered()
    assert limits.window == 2 * first, "slow start doubles with every round"
    for _ in range(1000):
        limits.answered()
    assert limits.window == 100


def test_one_cut_for_each_overload() -> None:
    limits = limiter(concurrency=10)
    limits.full = True
    for _ in range(10):  # ten requests of one window are pushed back
        limits.pushed_back(sent_at=1.0, now=2.0)
    assert limits.window == 7
    limits.pushed_back(sent_at=3.0, now=4.0)
    assert limits.window == 4
    for _ in range(5):
        limits.answered()
    assert limits.window == 5, "after a cut it grows by one a round"
    for sent_at in range(5, 100):
        limits.pushed_back(sent_at=sent_at, now=sent_at + 0.5)
    assert limits.window == 1


def test_a_pause_is_for_everyone_and_never_shortened() -> None:
    limits = limiter(concurrency=10)
    limits.pause(until=20)
    limits.pause(until=5)
    assert limits.opens_at == 20


@given(
    per_minute=st.integers(1, 6000),
    tokens_per_minute=st.integers(1, 100_000),
    gaps=st.lists(st.floats(0, 90), min_size=1, max_size=200),
    tokens=st.lists(st.integers(1, 3000), min_size=200, max_size=200),
)
def test_no_minute_exceeds_the_rates(
    per_minute: int, tokens_per_minute: int, gaps: list[float], tokens: list[int]
) -> None:
    """Whatever the demand, in any minute: at most the rate, one request more, and the credit for late timers."""
    limits = limiter(requests_per_minute=per_minute, tokens_per_minute=tokens_per_minute)
    now, sent = 0.0, []
    for gap, size in zip(gaps, tokens, strict=False):
        now = max(now + gap, limits.opens_at)
        limits.sent(now, size)
        sent.append((now, size))
    for start, _ in sent:
        minute = [size for at, size in sent if start <= at < start + 60]
        assert len(minute) <= per_minute * (60.1 / 60) + 1.001
        assert sum(minute[:-1]) <= tokens_per_minute * (60.1 / 60) * 1.001


def test_a_busy_sender_gets_its_whole_rate() -> None:
    limits, now, sent = limiter(requests_per_minute=600), 0.0, 0
    while now < 60:
        now = max(now, limits.opens_at) + 0.03  # every timer is late
        limits.sent(now, 1)
        sent += 1
    assert sent == pytest.approx(600, rel=0.01)
