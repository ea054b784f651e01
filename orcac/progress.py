"""Progress as plain lines on stderr: how far, how fast, how long still. Several nodes run side by side under
Snakemake, so each line names its node and stands by itself; no cursor is moved.

    train assistant  1,200/1,758 steps  68 %  22.1/s  ETA 0:25  loss 0.412

The same, once a second, as a small JSON file for others to read (`orcac status`): done, total, unit, rate (a second),
eta_seconds, note, usd (null where unknown), at (seconds since 1970). It is for people: it is replaced atomically but
not synced, and where it cannot be written the node goes on without.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

_WRITE_EVERY = 1.0  # seconds


class Progress:
    """Prints at most one line every `every` seconds, and one at the end; keeps `path`, where one is given."""

    def __init__(self, *, label: str, total: int, unit: str, path: Path | None = None, every: float = 5.0) -> None:
        self._label, self._total, self._unit, self._path, self._every = label, total, unit, path, every
        self._start = self._last = time.monotonic()
        self._next_write = 0.0
        self._first: int | None = None
        self._said = -1

    def update(self, done: int, note: str = "", *, usd: float | None = None) -> None:
        """`done` is the count so far, of `total`; `note` is what else is worth seeing (loss, dollars, errors).

        `usd` is what the work has cost so far. May be called for every row: what is not due costs well under 1 µs.
        """
        now = time.monotonic()
        if self._first is None:  # what a resumed node had done before says nothing of its rate
            self._first, self._start = done, now
        finished = done >= self._total
        if now >= self._next_write or (finished and done != self._said):
            self._next_write = now + _WRITE_EVERY
            self._write(done, note, usd, now)
        if done != self._said and (now - self._last >= self._every or finished):
            self._last, self._said = now, done
            self._print(done, note, now)

    def _rate(self, done: int, now: float) -> float | None:
        """A second, since the first update; None while nothing was done."""
        if self._first is None or done <= self._first:
            return None
        return (done - self._first) / max(now - self._start, 1e-9)

    def _print(self, done: int, note: str, now: float) -> None:
        share = 100 * done / self._total if self._total else 100.0
        parts = [self._label, f"{done:,}/{self._total:,} {self._unit}", f"{share:.0f} %"]
        if rate := self._rate(done, now):
            parts.append(f"{rate:,.1f}/s")
            parts.append(f"ETA {clock((self._total - done) / rate)}")
        print("  ".join([*parts, note] if note else parts), file=sys.stderr, flush=True)

    def _write(self, done: int, note: str, usd: float | None, now: float) -> None:
        if self._path is None:
            return
        rate = self._rate(done, now)
        record = {
            "done": done,
            "total": self._total,
            "unit": self._unit,
            "rate": rate,
            "eta_seconds": max(self._total - done, 0) / rate if rate else None,
            "note": note,
            "usd": usd,
            "at": time.time(),
        }
        part = self._path.with_suffix(".json.part")
        with contextlib.suppress(OSError):
            part.write_text(json.dumps(record) + "\n", encoding="utf-8")
            part.replace(self._path)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as people read them: 0:25, 12:07:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
