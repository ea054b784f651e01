"""How fast an endpoint may be asked: a window of requests in flight, paced rates, and pauses; all of them adapt.

- **Window.** It starts small and doubles with every round of answers (slow start), each round spread over half of its
  time. It stops where more requests in
  flight no longer bring more answers a second: a server that queues says nothing, its latency grows instead. Then it
  goes back to about what brought the most, and tries again later. Where answers come late and some too late to be
  waited for, it halves: work that nobody waits for is done, and paid, all the same.
- **Rates** are spaced evenly instead of refilled by the minute, so that a server which counts by the second agrees.
  The ceiling is what the spec declares, or the limit in the response's headers where that is lower. A limit that nobody
  tells is found: the first overload sets the rate to what was taken lately; each later one cuts it, first by little
  and by more while they go on; without one it grows, by less than a percent a second at first and faster the longer
  it lasts. So a steady limit is met by few push-backs, and one that moves is followed. An overload is several
  push-backs to a notable share of what was sent; fewer, which servers send for reasons of their own, too, take 1.5
  to 3 percent a second. One to a request that was sent before the last cut is stale: one cut for each overload,
  however many requests met it.
- **Tokens.** A request is charged what it may take, by the mean of the answers so far, and refunded when its answer
  says what it took. Some servers charge all of max_tokens and never refund: once one of them pushes back, so is done
  here.
- **Retry-After** is for the whole account: nobody sends until then.

Time is an argument, in seconds of the caller's clock: nothing here sleeps.
"""

from __future__ import annotations

import collections
import math

from orcac.chat.messages import ChatRequest, ChatResponse, RateHeaders
from orcac.chat.settings import EndpointSettings

_FIRST_WINDOW = 16
_CREDIT_S = 0.1  # how late a paced sender may be without losing its turn, since timers are coarse

_CUTS = (0.95, 0.9, 0.8, 0.7)  # of the rate, by push-backs in a row
_ENOUGH, _SHARE, _REMEMBERED = 4, 0.06, 100  # push-backs, and their share of so many requests, that call for a cut
_NUDGE, _MOST_NUDGED = 0.015, 0.03  # less, once a unit, for push-backs that do not; the most is for slow rates
_LOOK_BACK_S, _SLOT_S = 2.0, 0.1  # how long what was sent is remembered, and in what steps
_CALM_UNITS = (
    5.0  # after a push-back the rate grows slowly for so long; a unit is a second, or 15 requests if that is longer
)
_SLOWEST, _FASTEST, _DOUBLES_IN = 0.0075, 0.05, 4.0  # growth a unit, and the units in which it doubles
_FIRST_CUT = 0.5  # of the rate, while the first overload lasts
_SEARCH = 0.2  # growth a second after the first overload, or after one of a limit that has moved, until the next
_MOVED = 4  # cuts in a row tell that the limit has moved
_LEAST_RATE = 1 / 60  # requests a second

_GAIN, _ROUNDS = 1.05, 2  # a window is too large when so many rounds brought less gain than that
_HOLD_S = 60.0  # until a window that was too large is tried again
_LATE, _OF = 4.0, 40  # timeouts, of about so many answers, that tell that it is much too large, where
_SLOW = 0.25  # answers take such a share of the time in which they would have timed out: else something hangs


class Limiter:
    """`share` is among how many jobs the account's limits are divided; the owner keeps it right."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.share = 1
        self._full_at = float("-inf")  # when the window last held the sender back
        self._latency_s = 0.0  # mean
        self.paused_until = self._next_request = self._next_tokens = float("-inf")
        self._window_ceiling = settings.concurrency
        self._window = float(min(_FIRST_WINDOW, settings.concurrency))
        self._slow_start, self._held_until = True, float("-inf")
        self._round = _Round(at=float("-inf"), window=self._window)
        self._best, self._best_window, self._flat = 0.0, self._window, 0
        self._late, self._halved_at = 0.0, float("-inf")  # timeouts lately

        self._requests_declared = self._requests_ceiling = _a_second(settings.requests_per_minute)
        self._tokens_declared = self._tokens_ceiling = _a_second(settings.tokens_per_minute)
        self._found = float("inf")  # requests a second that the server takes, as far as push-backs tell
        self._cut_at = self._grown_at = float("-inf")
        self._pushed_at = self._nudged_at = float("-inf")
        self._sent_since = self._pushed_since = 0.0  # the last cut; requests
        self._cuts = 0  # in a row
        self._met = False  # whether the limit was met again after the first overload
        self._searching = True  # the rate grows fast until it meets its limit
        self._slots: collections.deque[_Slot] = collections.deque()

        self._answers = self._counted = 0  # answers, and those whose tokens the server counted
        self._mean_output = 0.0
        self._charges_all = False  # of max_tokens

    @property
    def window(self) -> int:
        """How many requests may be in flight, at least 1."""
        return min(int(self._window), self._most)

    @property
    def _most(self) -> int:
        return math.ceil(self._window_ceiling / self.share)

    @property
    def requests_a_second(self) -> float:
        """The rate now; infinite where nothing limits it yet. A window is filled in half a round, not at once."""
        spread = 2 * self._window / self._latency_s if self._latency_s else float("inf")
        return min(self._requests_ceiling / self.share, self._found, spread)

    @property
    def opens_at(self) -> float:
        """When the next request may be sent."""
        return max(self.paused_until, self._next_request, self._next_tokens)

    def charge(self, request: ChatRequest) -> int:
        """The tokens that a request is charged when it is sent."""
        output = request.sampling.max_tokens
        if self._counted >= 4 and not self._charges_all:
            output = min(output, round(self._mean_output))
        return request.input_token_bound // 4 + output

    def sent(self, now: float, tokens: int) -> None:
        """A request that is charged so many tokens leaves now."""
        earliest, rate = now - _CREDIT_S, self.requests_a_second
        self._next_request = max(self._next_request, earliest) + 1 / rate
        self._next_tokens = max(self._next_tokens, earliest) + tokens * self.share / self._tokens_ceiling
        if not self._slots or now >= self._slots[-1].at + _SLOT_S:
            self._slots.append(_Slot(now))
        self._slots[-1].sent += 1
        self._sent_since += 1
        if self._sent_since > _REMEMBERED:
            self._sent_since, self._pushed_since = self._sent_since / 2, self._pushed_since / 2
        while self._slots[0].at < now - max(_LOOK_BACK_S, 4 / rate):
            self._slots.popleft()

    def fills(self, now: float) -> None:
        """As many requests are in flight as the window allows."""
        self._full_at = now

    def answered(self, now: float, response: ChatResponse, *, sent_at: float, charged: int) -> None:
        """An answer came to a request that was sent at `sent_at`, `charged` so many tokens."""
        self._latency_s += (now - sent_at - self._latency_s) / min(self._answers + 1, 50)
        self._answers += 1
        self._late -= self._late / _OF
        used = response.input_tokens + response.output_tokens
        if used:
            self._counted += 1
            self._mean_output += (response.output_tokens - self._mean_output) / min(self._counted, 50)
            if not self._charges_all:
                self._next_tokens -= (charged - used) * self.share / self._tokens_ceiling
        self._grow_rate(now)
        self._grow_window(now)

    def pushed_back(self, sent_at: float, now: float) -> None:
        """The server said that it is asked too fast, to a request that was sent at `sent_at`."""
        for slot in reversed(self._slots):
            if slot.at <= sent_at:
                slot.sent -= 1
                break
        if sent_at <= self._cut_at:
            return
        self._pushed_at = now
        self._pushed_since += 1
        if self._pushed_since < _ENOUGH or self._pushed_since < _SHARE * self._sent_since:
            if now - self._nudged_at >= self._unit:
                self._found *= 1 - min(_MOST_NUDGED, max(_NUDGE, 0.3 / self._found))
                self._nudged_at = now
            return
        if self._next_tokens > max(now, self._next_request):
            self._charges_all = True
        if self._found == float("inf"):
            self._found = max(1.0, min(self.requests_a_second, self._taken(now)))
        elif now - self._cut_at < 2 * self._unit:
            self._cuts += 1
            self._searching = self._searching or self._cuts >= _MOVED
        else:
            self._cuts, self._searching, self._met = 0, False, True
        cut = _FIRST_CUT if not self._met else _CUTS[min(self._cuts, len(_CUTS) - 1)]
        rate = min(self._found, self.requests_a_second) * cut
        self._found = max(_LEAST_RATE, rate)
        self._cut_at = self._grown_at = now
        self._sent_since = self._pushed_since = 0.0
        self._next_request = max(self._next_request, now + 1 / self._found)

    def timed_out(self, sent_at: float, now: float) -> None:
        """No answer came in time to a request that was sent at `sent_at`."""
        if sent_at <= self._halved_at or (self._answers and self._latency_s < _SLOW * (now - sent_at)):
            return
        self._late += 1
        if self._late >= _LATE:
            self._window, self._late, self._halved_at = max(1.0, self.window / 2), 0.0, now
            self._best, self._best_window, self._flat = 0.0, self._window, 0
            self._slow_start, self._held_until = False, now + _HOLD_S
            self._round = _Round(at=now, window=self._window)

    def heard(self, rates: RateHeaders, now: float, *, pushed_back: bool = False) -> None:
        """What a response's headers say. What is left is a fact of the moment, so only a push-back's counts."""
        if rates.requests_limit:
            self._requests_ceiling = min(self._requests_declared, rates.requests_limit / 60)
        if rates.tokens_limit:
            self._tokens_ceiling = min(self._tokens_declared, rates.tokens_limit / 60)
        for left, reset_s in (
            (rates.requests_remaining, rates.requests_reset_s),
            (rates.tokens_remaining, rates.tokens_reset_s),
        ):
            if pushed_back and left is not None and left < 1 and reset_s:
                self.pause(now + min(reset_s, 1.0))  # a bucket that refills all the time is whole much later

    def pause(self, until: float) -> None:
        self.paused_until = max(self.paused_until, until)

    @property
    def _unit(self) -> float:
        return 1.0 if self._searching else max(1.0, 15 / self._found)

    def _taken(self, now: float) -> float:
        """Requests a second that were sent lately and not pushed back."""
        seconds = now - self._slots[0].at if self._slots else 0.0
        return max(_LEAST_RATE, sum(slot.sent for slot in self._slots) / max(seconds, 0.5))

    def _grow_rate(self, now: float) -> None:
        if self._found == float("inf") or self._found > 1.5 * self._taken(now):
            return  # nothing limits it, or something else does
        if now - self._pushed_at < self._unit:
            self._grown_at = now
            return
        units = min(5.0, (now - self._grown_at) / self._unit)
        calm = min(99.0, (now - max(self._cut_at, self._pushed_at)) / self._unit)
        growth = _SLOWEST * 2 ** max(0.0, (calm - _CALM_UNITS) / _DOUBLES_IN)
        growth = _SEARCH if self._searching else min(_FASTEST, growth)
        self._found *= (1 + growth) ** units
        self._grown_at = now

    def _grow_window(self, now: float) -> None:
        """By one an answer, later by one a round, and only while it is what holds the sender back."""
        full = now - self._full_at <= self._latency_s
        now_ends = self._round.count(full)
        if full and not self._flat and now >= self._held_until:
            step = 1.0 if self._slow_start else 1 / self._window
            self._window = min(self._most, self._window + step)
        if now_ends:
            self._end_round(now)
            self._round = _Round(at=now, window=self._window)

    def _end_round(self, now: float) -> None:
        ended = self._round
        if not ended.full or now <= ended.at:
            return
        a_second = ended.answers / (now - ended.at)
        if a_second > _GAIN * self._best:
            self._best, self._best_window, self._flat = a_second, ended.window, 0
            return
        self._best *= 0.99
        self._flat = self._flat + 1 if ended.window >= 1.5 * self._best_window else 0
        if self._flat >= _ROUNDS:
            self._window, self._flat = max(min(_FIRST_WINDOW, self._window), 1.2 * self._best_window), 0
            self._slow_start, self._held_until = False, now + _HOLD_S


class _Slot:
    """What was sent from `at` on, for a tenth of a second."""

    __slots__ = ("at", "sent")

    def __init__(self, at: float) -> None:
        self.at, self.sent = at, 0


class _Round:
    """As many answers as requests fitted into the window when it began."""

    __slots__ = ("answers", "at", "full", "window")

    def __init__(self, *, at: float, window: float) -> None:
        self.at, self.window, self.answers, self.full = at, window, 0, True

    def count(self, full: bool) -> bool:
        """Count an answer; whether it is the last of the round."""
        self.answers += 1
        self.full = self.full and full
        return self.answers >= self.window


def _a_second(per_minute: int | None) -> float:
    return per_minute / 60 if per_minute else float("inf")
