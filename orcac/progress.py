"""Progress as plain lines on stderr: how far, how fast, how long still. Several nodes run side by side under
Snakemake, so each line names its node and stands by itself; no cursor is moved.

    train assistant  1,200/1,758 steps  68 %  22.1/s  ETA 0:25  loss 0.412
"""

from __future__ import annotations

import sys
import time


class Progress:
    """Prints at most one line every `every` seconds, and one at the end."""

    def __init__(self, *, label: str, total: int, unit: str, every: float = 5.0) -> None:
        self._label, self._total, self._unit, self._every = label, total, unit, every
        self._start = self._last = time.monotonic()
        self._first: int | None = None
        self._said = -1

    def update(self, done: int, note: str = "") -> None:
        """`done` is the count so far, of `total`; `note` is what else is worth seeing (loss, dollars, errors)."""
        now = time.monotonic()
        if self._first is None:  # what a resumed node had done before says nothing of its rate
            self._first, self._start = done, now
        finished = done >= self._total
        if done == self._said or (now - self._last < self._every and not finished):
            return
        self._last, self._said = now, done
        rate = (done - self._first) / max(now - self._start, 1e-9)
        share = 100 * done / self._total if self._total else 100.0
        parts = [self._label, f"{done:,}/{self._total:,} {self._unit}", f"{share:.0f} %"]
        if done > self._first:
            parts.append(f"{rate:,.1f}/s")
            parts.append(f"ETA {_clock((self._total - done) / rate)}")
        print("  ".join([*parts, note] if note else parts), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
