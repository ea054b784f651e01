"""A tally as a person sees it while a model is asked: the job's progress line, and one line for each kind of error."""

from __future__ import annotations

import time

from orcac.chat.tally import Tally
from orcac.progress import Progress, print_line
from orcac.text import dollars


class TallyLine:
    """The progress line of a job that asks a model. Call it with each new state of the tally."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label, self._start = progress, label, time.monotonic()
        self._printed: set[str] = set()  # error classes whose first message was printed

    def __call__(self, tally: Tally, note: str = "") -> None:
        """Update the line; `note` is shown after the tally's own notes."""
        for name in tally.messages.keys() - self._printed:
            self._printed.add(name)
            print_line(f"{self._label}  {name}: {tally.messages[name]}")
        notes = [*_notes(tally, time.monotonic() - self._start), *([note] if note else [])]
        self._progress.update(tally.answered + tally.failed.total(), "  ".join(notes), usd=tally.usd)


def _notes(tally: Tally, seconds: float) -> list[str]:
    """Return `failed: 2 server`, `retried: 5 server`, `64 in flight`, `1.20 USD`, `910 tokens/s`.

    The most important ones come first, since a narrow terminal shows the beginning alone.
    """
    notes = [
        f"{title}: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
        for title, counts in (("failed", tally.failed), ("retried", tally.retried))
        if counts
    ]
    notes += [f"{tally.in_flight:,} in flight"] if tally.in_flight else []
    notes += [dollars(tally.usd)] if tally.usd else []
    notes += [f"the server asks for a pause of {tally.paused_s:.0f} s"] if tally.paused_s >= 1 else []
    notes += [f"{tally.tokens / seconds:,.0f} tokens/s"] if tally.tokens and seconds else []
    return notes
