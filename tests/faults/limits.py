"""Limits on requests and tokens per minute as OpenAI enforces and reports them: two buckets that fill evenly."""

from __future__ import annotations

import dataclasses
import time
from typing import Literal


@dataclasses.dataclass(slots=True)
class _Bucket:
    per_minute: float
    capacity: float
    level: float
    at: float

    def fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def wait_s(self, amount: float) -> float:
        """Return the seconds until the bucket holds `amount`."""
        return max(0.0, (amount - self.level) * 60 / self.per_minute)


class Limits:
    """The limits of an account. A bucket holds as much as flows in during `burst_s` seconds.

    `charge` decides which tokens count: the input and `max_tokens`, or the input and the tokens used by the answer.
    The second are known only with the answer, so the bucket may go below zero.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        burst_s: float = 60.0,
        charge: Literal["max_tokens", "used"] = "max_tokens",
        headers: bool = True,
    ) -> None:
        self.charge, self.headers, self._burst_s = charge, headers, burst_s
        self._buckets: dict[str, _Bucket] = {}
        self.set(requests_per_minute, tokens_per_minute)

    def set(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Replace the limits. Each bucket keeps its content, up to its new size."""
        now = time.monotonic()
        for name, limit in (("requests", requests_per_minute), ("tokens", tokens_per_minute)):
            old = self._buckets.pop(name, None)
            if limit:
                capacity = max(1.0, limit * self._burst_s / 60)
                self._buckets[name] = _Bucket(limit, capacity, min(old.level, capacity) if old else capacity, now)

    def admit(self, tokens: int) -> tuple[str, float]:
        """Admit a request of so many tokens. Returns ("", 0), or the bucket that is too low and the seconds to wait."""
        now, costs = time.monotonic(), {"requests": 1, "tokens": tokens}
        for name, bucket in self._buckets.items():
            bucket.fill(now)
            if bucket.level < costs[name]:
                return name, bucket.wait_s(costs[name])
        for name, bucket in self._buckets.items():
            bucket.level -= costs[name]
        return "", 0.0

    def charge_tokens(self, tokens: int) -> None:
        """Charge tokens that became known after the request was admitted."""
        if bucket := self._buckets.get("tokens"):
            bucket.level -= tokens

    def state(self) -> dict[str, str]:
        """Return the rate limit headers of a response."""
        if not self.headers:
            return {}
        headers = {}
        for name, bucket in self._buckets.items():
            headers[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute:.0f}"
            headers[f"x-ratelimit-remaining-{name}"] = f"{max(0, int(bucket.level))}"
            headers[f"x-ratelimit-reset-{name}"] = _duration(bucket.wait_s(bucket.capacity))
        return headers


def _duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: 120ms, 8.64s, 6m0s, 1h2m3s."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest}s"
