"""How fast an endpoint may be asked: a window of requests in flight that adapts, paced rates, and pauses.

- The window starts small, doubles with every round of answers until the first push-back (slow start), then
  is cut by 0.7 at a push-back and grows by one a round (AIMD, as TCP's). A push-back to a request that was
  sent before the last cut is stale and cuts nothing: one cut for each overload, however many requests met
  it.
- Rates are spaced evenly instead of refilled by the minute, so that a server which counts by the second
  agrees. Tokens are charged as most providers do: what the request may take at most, with no refund.
- `Retry-After` is for the whole account: nobody sends until then.
- Jobs that share the account (account.py) each take their part of its rates and of the requests in flight.

Time is an argument, in seconds of the caller's clock: nothing here sleeps.
"""

from __future__ import annotations

import math

from orcac.chat.settings import EndpointSettings

_FIRST_WINDOW = 16
_CUT = 0.7
_CREDIT_S = 0.1  # how late a paced sender may be without losing its turn, since timers are coarse


class Limiter:
    """`share` is among how many jobs the account's limits are divided; the owner keeps it right."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._ceiling = settings.concurrency
        self._window = float(min(_FIRST_WINDOW, settings.concurrency))
        self._slow_start = True
        self.share = 1
        self.full = False  # set by the sender: whether it waits for the window alone
        self._cut_at = self._paused_until = self._next_request = self._next_tokens = float("-inf")
        self._request_s = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
        self._token_s = 60 / settings.tokens_per_minute if settings.tokens_per_minute else 0.0

    @property
    def window(self) -> int:
        """How many requests may be in flight, at least 1."""
        return min(int(self._window), self._ceiling_of_one)

    @property
    def _ceiling_of_one(self) -> int:
        return math.ceil(self._ceiling / self.share)

    @property
    def opens_at(self) -> float:
        """When the next request may be sent."""
        return max(self._paused_until, self._next_request, self._next_tokens)

    def sent(self, now: float, tokens: int) -> None:
        """A request of at most so many tokens (input and output) leaves now."""
        self._next_request = max(self._next_request, now - _CREDIT_S) + self._request_s * self.share
        self._next_tokens = max(self._next_tokens, now - _CREDIT_S) + self._token_s * tokens * self.share

    def answered(self) -> None:
        """An answer came. The window grows only while it is what holds the sender back."""
        if self.full:
            self._window = min(self._ceiling_of_one, self._window + (1.0 if self._slow_start else 1 / self._window))

    def pushed_back(self, sent_at: float, now: float) -> None:
        """The server said that it is asked too fast, to a request that was sent at `sent_at`."""
        self._slow_start = False
        if sent_at > self._cut_at:
            self._window = max(1.0, self._window * _CUT)
            self._cut_at = now

    def pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
