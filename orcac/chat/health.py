"""The engine's rules for retries, waits and giving up, which depend on the cause: the request or the endpoint.

If one request fails and others are answered, that request is the cause, so it gets a limited number of attempts. If
many requests fail and none is answered between them, the endpoint is the cause. If it has answered before, its failures
then count against no request, for some minutes; a longer outage, or an endpoint that never answers, ends the run.

Time is a parameter, in seconds of the caller's clock; this module never sleeps.
"""

from __future__ import annotations

import dataclasses

from orcac.chat.failures import ERRORS, Action, ChatError

_DOUBLINGS = 7  # the number of times that the longest wait doubles
_MANY_REQUESTS = 10  # with this many failing, exhausted or bad requests and no answer between, the endpoint is to blame
_FAILED_IN_A_ROW = 16  # after so many failed attempts with no answer between them, nothing fresh is sent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The waits and patience of the engine, in seconds."""

    backoff: float = 0.5  # the longest wait after a request's first failure; it doubles with each further one
    flaky_backoff: float = 0.03  # the same while other requests are answered; it doubles with each failure in a row
    push_back_backoff: float = 1.0  # the longest wait after a push-back, since the limiter finds the right rate
    push_back_patience: float = 600.0  # the longest time without an answer while the server pushes back
    outage_patience: float = 300.0  # the longest outage of a server that has answered
    start_poll: float = 4.0  # the longest wait between two attempts at a server that may still be starting
    budget_poll: float = 1.0  # between two checks of a spent budget to which other jobs may give some back
    progress: float = 0.5  # between two progress reports, even if nothing has changed


class Health:
    """The health of one endpoint during one run, as far as its answers and failures show it."""

    def __init__(
        self, *, now: float, total: int, has_answered: bool, timing: Timing, ready_within_s: float = 0.0
    ) -> None:
        """`total` is the number of requests of the run; `has_answered` is True if the ledger holds answers to some.

        `ready_within_s`: the longest wait for a server that refuses connections because it is still starting.
        """
        self._ready_by = now + ready_within_s
        self.has_answered = has_answered
        self._timing = timing
        self._last_answer_at = now
        self._max_exhausted = min(_MANY_REQUESTS, total)
        self._failed_in_a_row = self._exhausted_in_a_row = 0
        self._bad_requests = 0
        self._failing: set[str] = set()  # the keys of the requests that failed since the last answer

    @property
    def rejects_all(self) -> bool:
        """True if the endpoint has called requests bad and answered none, or many attempts in a row have failed."""
        return (self._bad_requests > 0 and not self.has_answered) or self._failed_in_a_row >= _FAILED_IN_A_ROW

    def on_final_response(self, now: float, *, is_answer: bool) -> None:
        """Record that a request got an answer or a final refusal, so the endpoint works."""
        self.has_answered = self.has_answered or is_answer
        self._last_answer_at = now
        self._ready_by = now  # it has started
        self._failed_in_a_row = self._exhausted_in_a_row = 0
        self._failing.clear()

    def on_bad_request(self) -> bool:
        """Record that the endpoint called a request bad. Returns True if it does so with all, which ends the run."""
        self._bad_requests += 1
        return not self.has_answered and self._bad_requests >= _MANY_REQUESTS

    def on_failed_attempt(self, now: float, *, key: str, error: str) -> bool:
        """Record a failed attempt of a request. Returns True if it counts against the request.

        It does not count if the class of `error` is transient and an endpoint that has answered before now fails for
        many requests, for up to `outage_patience`; nor if the server may still be starting.
        """
        self._failed_in_a_row += 1
        self._failing.add(key)
        return not self._may_be_starting(now, error) and not (
            ERRORS[error].transient
            and self.has_answered
            and len(self._failing) >= _MANY_REQUESTS
            and now - self._last_answer_at < self._timing.outage_patience
        )

    def on_exhausted(self) -> None:
        """Record that a request is out of attempts."""
        self._exhausted_in_a_row += 1

    def is_hopeless(self, now: float, error: ChatError, *, exhausted: bool) -> bool:
        """Return True if no request will be answered before the cause of `error` is fixed by hand.

        `exhausted` is True if the request that met `error` is out of attempts.
        """
        action, silent_s = ERRORS[error.error].action, now - self._last_answer_at
        return (
            action is Action.STOP
            or (error.retry_after or 0) > self._timing.push_back_patience
            or (action is Action.SLOW_DOWN and silent_s > self._timing.push_back_patience)
            or (exhausted and error.error == "unreachable")  # no request can be the cause of that
            or self._exhausted_in_a_row >= self._max_exhausted
        )

    def _may_be_starting(self, now: float, error: str) -> bool:
        return error == "unreachable" and now < self._ready_by

    def longest_wait(self, now: float, error: str, *, failures: int) -> float:
        """Return the longest wait in seconds before the next attempt of a request that has failed `failures` times."""
        longest = self._timing.backoff * 2 ** min(failures - 1, _DOUBLINGS)
        if self._may_be_starting(now, error):
            return min(longest, self._timing.start_poll)
        if ERRORS[error].action is Action.SLOW_DOWN:
            return min(longest, self._timing.push_back_backoff)
        if error == "unreachable":
            return longest
        return min(longest, self._timing.flaky_backoff * 2 ** min(self._failed_in_a_row, _FAILED_IN_A_ROW))
