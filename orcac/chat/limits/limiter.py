"""The speed at which one job asks an endpoint: a window of requests in flight, paced rates, and pauses.

The window and the rates adapt to the server, by gradual increase and multiplicative decrease (AIMD):

- **Window.** It starts small and doubles with every round of answers (slow start); the requests of a round are spread
  over half of its time. It stops growing when more requests in flight no longer bring more answers per second: a server
  that queues sends no error, its latency grows instead. The window then returns to about the size that brought the
  highest throughput, and a larger one is probed again later. If answers come late and some requests time out, the
  window is halved, because the server still works on requests that timed out here, and bills them.
- **Rates** are paced evenly instead of refilled once a minute, so that they also suit a server that counts by the
  second. The ceiling is the rate that the spec declares, or the limit in the response headers if that is lower. A limit
  that is stated nowhere is estimated: the first overload sets the estimate to the rate that was accepted recently, and
  each later overload cuts it, by little at first and by more if the overloads continue. Between overloads the estimate
  grows, by less than a percent a second at first and faster over time. So a steady limit is met with few push-backs,
  and a limit that moves is followed. An overload is several push-backs that are a notable share of the requests sent.
  Fewer push-backs, which servers also send for other reasons, trim the estimate by 1.5 to 3 percent a second. A
  push-back to a request that was sent before the last cut is stale: each overload causes one cut, however many requests
  it hits.
- **Tokens.** A request is charged an estimate of its tokens, from the mean of the answers so far, and the charge is
  corrected when the answer states its usage. Some servers charge all of max_tokens and never correct it: when one of
  them pushes back, this limiter begins to charge the same way.
- **Retry-After** applies to the whole account: no request is sent until then.

Time is a parameter, in seconds of the caller's clock; this module never sleeps.
"""

from __future__ import annotations

import collections
import math

from orcac.chat.messages import ChatRequest, ChatResponse, RateHeaders
from orcac.chat.settings import EndpointSettings

_FIRST_WINDOW = 16
_PACING_CREDIT_S = 0.1  # a paced sender may be this late without losing its turn, since timers are coarse

# An overload is this many push-backs, and this share of the requests since the last cut (counted with decay).
_OVERLOAD_PUSH_BACKS, _OVERLOAD_SHARE, _OVERLOAD_SAMPLE = 4, 0.06, 100
_FIRST_CUT = 0.5  # the factor of each cut during the first overload, when the limit is still unknown
_CUTS = (0.95, 0.9, 0.8, 0.7)  # the factors of later cuts, by the number of cuts in a row
_MOVED_LIMIT_CUTS = 4  # so many cuts in a row mean that the limit has moved
_TRIM, _MAX_TRIM = 0.015, 0.03  # the trim per interval for single push-backs; the maximum applies to slow rates
_MIN_RATE = 1 / 60  # requests per second

# The estimate grows per interval: a second, or the time of 15 requests if that is longer.
_SLOW_INTERVALS = 5.0  # after a push-back, growth stays at its minimum for this long
_MIN_GROWTH, _MAX_GROWTH, _GROWTH_DOUBLES_IN = 0.0075, 0.05, 4.0  # per interval, and the intervals until it doubles
_PROBE_GROWTH = 0.2  # per second, until the next overload: at the start, and once the limit is found to have moved
_SEND_HISTORY_S, _SLOT_S = 2.0, 0.1  # the time for which sent requests are remembered, and the width of their slots

_MIN_GAIN, _FLAT_ROUNDS = 1.05, 2  # a window is too large if so many rounds brought less than this gain in throughput
_WINDOW_HOLD_S = 60.0  # until a window that was too large is probed again
_CUT_TIMEOUTS, _TIMEOUT_SAMPLE = 4.0, 40  # so many timeouts among about so many answers halve the window,
_SLOW_LATENCY = 0.25  # if the mean latency is at least this share of the timeout; else single requests hang


class Limiter:
    """The state of the limits of one endpoint, as one job sees it.

    The caller reports each event (`on_send`, `on_answer`, ...) and sends when `window` and `next_send_at` allow it.
    `live_jobs` is the number of jobs that divide the account's limits; the caller keeps it current.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.live_jobs = 1
        self.paused_until = self._next_request_at = self._next_tokens_at = float("-inf")

        self._max_window = settings.concurrency
        self._window = float(min(_FIRST_WINDOW, settings.concurrency))
        self._in_slow_start, self._window_held_until = True, float("-inf")
        self._round = _Round(at=float("-inf"), window=self._window)
        self._best_throughput, self._best_window, self._flat_rounds = 0.0, self._window, 0
        self._window_full_at = float("-inf")  # when the window last held a request back
        self._recent_timeouts, self._window_halved_at = 0.0, float("-inf")

        self._declared_rate = self._rate_ceiling = _per_second(settings.requests_per_minute)
        self._declared_token_rate = self._token_rate_ceiling = _per_second(settings.tokens_per_minute)
        self._estimated_rate = float("inf")  # of requests that the server accepts; infinite before the first push-back
        self._cut_at = self._grown_at = float("-inf")
        self._pushed_back_at = self._trimmed_at = float("-inf")
        self._sends_since_cut = self._push_backs_since_cut = 0.0
        self._cuts_in_a_row = 0
        self._limit_is_known = False  # True after the second overload
        self._is_probing = True  # the rate grows fast until the next overload
        self._slots: collections.deque[_Slot] = collections.deque()

        self._answers = self._answers_with_usage = 0
        self._mean_latency_s = self._mean_output_tokens = 0.0
        self._charges_max_tokens = False

    @property
    def window(self) -> int:
        """The number of requests that may be in flight, at least 1."""
        return min(int(self._window), self._window_ceiling)

    @property
    def _window_ceiling(self) -> int:
        return math.ceil(self._max_window / self.live_jobs)

    @property
    def rate(self) -> float:
        """The present rate in requests per second; infinite if nothing limits it yet.

        The rate also spreads a window over half a round trip, so that it is not filled at once.
        """
        spread = 2 * self._window / self._mean_latency_s if self._mean_latency_s else float("inf")
        return min(self._rate_ceiling / self.live_jobs, self._estimated_rate, spread)

    @property
    def next_send_at(self) -> float:
        """The time from which the next request may be sent."""
        return max(self.paused_until, self._next_request_at, self._next_tokens_at)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Return the tokens to charge for a request when it is sent."""
        output = request.sampling.max_tokens
        if self._answers_with_usage >= 4 and not self._charges_max_tokens:
            output = min(output, round(self._mean_output_tokens))
        return request.input_token_bound // 4 + output

    def on_send(self, now: float, charged: int) -> None:
        """Record that a request is sent now, charged with so many tokens."""
        earliest, rate = now - _PACING_CREDIT_S, self.rate
        self._next_request_at = max(self._next_request_at, earliest) + 1 / rate
        tokens_s = charged * self.live_jobs / self._token_rate_ceiling
        self._next_tokens_at = max(self._next_tokens_at, earliest) + tokens_s
        if not self._slots or now >= self._slots[-1].at + _SLOT_S:
            self._slots.append(_Slot(now))
        self._slots[-1].sent += 1
        self._sends_since_cut += 1
        if self._sends_since_cut > _OVERLOAD_SAMPLE:
            self._sends_since_cut /= 2
            self._push_backs_since_cut /= 2
        while self._slots[0].at < now - max(_SEND_HISTORY_S, 4 / rate):
            self._slots.popleft()

    def on_full_window(self, now: float) -> None:
        """Record that as many requests are in flight as the window allows."""
        self._window_full_at = now

    def on_answer(self, now: float, response: ChatResponse, *, sent_at: float, charged: int) -> None:
        """Record the answer to a request that was sent at `sent_at` and charged with so many tokens."""
        self._mean_latency_s += (now - sent_at - self._mean_latency_s) / min(self._answers + 1, 50)
        self._answers += 1
        self._recent_timeouts -= self._recent_timeouts / _TIMEOUT_SAMPLE
        used = response.input_tokens + response.output_tokens
        if used:
            self._answers_with_usage += 1
            change = response.output_tokens - self._mean_output_tokens
            self._mean_output_tokens += change / min(self._answers_with_usage, 50)
            if not self._charges_max_tokens:
                self._next_tokens_at -= (charged - used) * self.live_jobs / self._token_rate_ceiling
        self._grow_rate(now)
        self._grow_window(now)

    def on_push_back(self, now: float, *, sent_at: float) -> None:
        """Record that the server refused a request, sent at `sent_at`, because it is asked too fast."""
        for slot in reversed(self._slots):
            if slot.at <= sent_at:
                slot.sent -= 1
                break
        if sent_at <= self._cut_at:
            return
        self._pushed_back_at = now
        self._push_backs_since_cut += 1
        if self._push_backs_since_cut >= max(_OVERLOAD_PUSH_BACKS, _OVERLOAD_SHARE * self._sends_since_cut):
            self._cut_rate(now)
        elif now - self._trimmed_at >= self._interval_s:
            self._estimated_rate *= 1 - min(_MAX_TRIM, max(_TRIM, 0.3 / self._estimated_rate))
            self._trimmed_at = now

    def on_timeout(self, now: float, *, sent_at: float) -> None:
        """Record that no answer came in time to a request that was sent at `sent_at`."""
        hangs = self._answers and self._mean_latency_s < _SLOW_LATENCY * (now - sent_at)
        if sent_at <= self._window_halved_at or hangs:
            return
        self._recent_timeouts += 1
        if self._recent_timeouts >= _CUT_TIMEOUTS:
            self._window, self._recent_timeouts, self._window_halved_at = max(1.0, self.window / 2), 0.0, now
            self._best_throughput, self._best_window, self._flat_rounds = 0.0, self._window, 0
            self._in_slow_start, self._window_held_until = False, now + _WINDOW_HOLD_S
            self._round = _Round(at=now, window=self._window)

    def on_headers(self, now: float, rates: RateHeaders, *, pushed_back: bool = False) -> None:
        """Apply the limits that a response's headers state.

        The remaining allowance is soon out of date, so only that of a push-back counts.
        """
        if rates.requests_limit:
            self._rate_ceiling = min(self._declared_rate, rates.requests_limit / 60)
        if rates.tokens_limit:
            self._token_rate_ceiling = min(self._declared_token_rate, rates.tokens_limit / 60)
        for left, reset_s in (
            (rates.requests_remaining, rates.requests_reset_s),
            (rates.tokens_remaining, rates.tokens_reset_s),
        ):
            if pushed_back and left is not None and left < 1 and reset_s:
                # at most a second: most servers refill continuously, and `reset` is when the allowance is full again
                self.pause(now + min(reset_s, 1.0))

    def pause(self, until: float) -> None:
        """Send nothing before `until`; a longer pause that is in force stays."""
        self.paused_until = max(self.paused_until, until)

    @property
    def _interval_s(self) -> float:
        return 1.0 if self._is_probing else max(1.0, 15 / self._estimated_rate)

    def _accepted_rate(self, now: float) -> float:
        """Return the requests per second that were sent recently and not pushed back."""
        seconds = now - self._slots[0].at if self._slots else 0.0
        return max(_MIN_RATE, sum(slot.sent for slot in self._slots) / max(seconds, 0.5))

    def _cut_rate(self, now: float) -> None:
        """Cut the estimated rate after an overload."""
        if self._next_tokens_at > max(now, self._next_request_at):
            self._charges_max_tokens = True
        if self._estimated_rate == float("inf"):
            self._estimated_rate = max(1.0, min(self.rate, self._accepted_rate(now)))
        elif now - self._cut_at < 2 * self._interval_s:
            self._cuts_in_a_row += 1
            self._is_probing = self._is_probing or self._cuts_in_a_row >= _MOVED_LIMIT_CUTS
        else:
            self._cuts_in_a_row, self._is_probing, self._limit_is_known = 0, False, True
        factor = _CUTS[min(self._cuts_in_a_row, len(_CUTS) - 1)] if self._limit_is_known else _FIRST_CUT
        self._estimated_rate = max(_MIN_RATE, min(self._estimated_rate, self.rate) * factor)
        self._cut_at = self._grown_at = now
        self._sends_since_cut = self._push_backs_since_cut = 0.0
        self._next_request_at = max(self._next_request_at, now + 1 / self._estimated_rate)

    def _grow_rate(self, now: float) -> None:
        if self._estimated_rate == float("inf") or self._estimated_rate > 1.5 * self._accepted_rate(now):
            return  # no limit is known, or something else limits the rate
        if now - self._pushed_back_at < self._interval_s:
            self._grown_at = now
            return
        intervals = min(5.0, (now - self._grown_at) / self._interval_s)
        calm = min(99.0, (now - max(self._cut_at, self._pushed_back_at)) / self._interval_s)
        growth = min(_MAX_GROWTH, _MIN_GROWTH * 2 ** max(0.0, (calm - _SLOW_INTERVALS) / _GROWTH_DOUBLES_IN))
        self._estimated_rate *= (1 + (_PROBE_GROWTH if self._is_probing else growth)) ** intervals
        self._grown_at = now

    def _grow_window(self, now: float) -> None:
        """Grow the window by one per answer in slow start, else by one per round, but only while it is full."""
        full = now - self._window_full_at <= self._mean_latency_s
        round_ends = self._round.count(full)
        if full and not self._flat_rounds and now >= self._window_held_until:
            step = 1.0 if self._in_slow_start else 1 / self._window
            self._window = min(self._window_ceiling, self._window + step)
        if round_ends:
            self._judge_round(now)
            self._round = _Round(at=now, window=self._window)

    def _judge_round(self, now: float) -> None:
        """Shrink the window to the best one if the last rounds brought no more throughput with a larger one."""
        ended = self._round
        if not ended.full or now <= ended.at:
            return
        throughput = ended.answers / (now - ended.at)
        if throughput > _MIN_GAIN * self._best_throughput:
            self._best_throughput, self._best_window, self._flat_rounds = throughput, ended.window, 0
            return
        self._best_throughput *= 0.99
        self._flat_rounds = self._flat_rounds + 1 if ended.window >= 1.5 * self._best_window else 0
        if self._flat_rounds >= _FLAT_ROUNDS:
            self._window, self._flat_rounds = max(min(_FIRST_WINDOW, self._window), 1.2 * self._best_window), 0
            self._in_slow_start, self._window_held_until = False, now + _WINDOW_HOLD_S


class _Slot:
    """The number of requests that were sent within a tenth of a second from `at` on, minus those pushed back."""

    __slots__ = ("at", "sent")

    def __init__(self, at: float) -> None:
        self.at, self.sent = at, 0


class _Round:
    """A span of as many answers as requests fitted into the window at its beginning."""

    __slots__ = ("answers", "at", "full", "window")

    def __init__(self, *, at: float, window: float) -> None:
        self.at, self.window, self.answers, self.full = at, window, 0, True

    def count(self, full: bool) -> bool:
        """Count an answer. Returns True if it is the last of the round."""
        self.answers += 1
        self.full = self.full and full
        return self.answers >= self.window


def _per_second(per_minute: int | None) -> float:
    return per_minute / 60 if per_minute else float("inf")
