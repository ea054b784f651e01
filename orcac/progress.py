"""Progress as lines on stderr: how far, how fast, how long still, and what else is worth seeing.

    train assistant  1,200/1,758 steps  68 %  22.1/s  ETA 0:25  loss 0.412
    collect answers  1,200/3,000 answers  40 %  no answers for 0:45  retried: 310 rate_limit  16 in flight

Several nodes run side by side under Snakemake, in one terminal or into logs, so a line is plain: it names its node,
stands by itself and moves no cursor. One comes every 5 s while work is done. While none is, one comes when the note
says something of a new kind, and otherwise every half minute or, where the note stays as it is, every minute.
`live_line` is for a process that has a terminal to itself: there the line is one, and is redrawn in place. Where
`orcac run` has it, the lines of all nodes go through a pipe to it: they bear the mark DRAWN where there is a file, and
it draws what the files say instead.

The same, once a second, as a small JSON file for others to read (`orcac status`): done, total, unit, rate (a second),
eta_seconds, note, usd (null where unknown), at (seconds since 1970). It is for people: it is replaced atomically but
not synced, and where it cannot be written the node goes on without.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from orcac.store import durable
from orcac.text import clock

DRAWN = "\x1e"  # the first character of a line that somebody draws from its file
DRAWN_VARIABLE = "ORCAC_DRAWN"  # of the environment: the pipe to who does, as `pipe_name` has it

_LOOK_EVERY = 0.5  # seconds; a live line is redrawn as often
_WRITE_EVERY = 1.0
_SAY_EVERY = 5.0
_STALLED = 30.0  # without anything done; a line that says something else comes as often
_SAY_STALLED_EVERY = 60.0  # one that says the same


class Progress:
    """Says how far something is: lines, the last one at the end, and `path`, where one is given."""

    def __init__(self, *, label: str, total: int, unit: str, path: Path | None = None) -> None:
        self._label, self._total, self._unit, self._path = label, total, unit, path
        self._start = self._moved = self._said_at = time.monotonic()
        self._next_look = self._next_write = 0.0
        self._first: int | None = None
        self._done = self._said = -1
        self._said_note = ""
        self._words: set[str] = set()  # that a line's note had

    def update(self, done: int, note: str = "", *, usd: float | None = None) -> None:
        """`done` is the count so far, of `total`; `note` is what else is worth seeing (loss, dollars, errors).

        `usd` is what the work has cost so far. May be called for every row: what is not due costs well under 1 µs.
        It must be called for a line to come, also while nothing is done.
        """
        now = time.monotonic()
        if done != self._done:
            if self._first is None:  # what a resumed node had done before says nothing of its rate
                self._first, self._start = done, now
            self._done, self._moved = done, now
        ends = done >= self._total and done != self._said
        if now < self._next_look and not ends:
            return
        self._next_look = now + _LOOK_EVERY
        rate, shown = self._rate(now), note
        if now - self._moved >= _STALLED and done < self._total:
            rate = None
            silent = f"no {self._unit} for {clock(now - self._moved)}"
            shown = f"{silent}  {note}" if note else silent
        if now >= self._next_write or ends:
            self._next_write = now + _WRITE_EVERY
            self._write(rate, shown, usd)
        terminal = sys.stderr
        if isinstance(terminal, _Terminal) and is_ours(terminal) and done < self._total:
            terminal.redraw(self._label, self._text(rate, shown))
        elif ends or self._is_due(note, now):
            self._said, self._said_at, self._said_note = done, now, note
            self._words |= _words(note)
            mark = "" if ends or self._path is None or DRAWN_VARIABLE not in os.environ else DRAWN
            line = f"{mark}{self._label}  {self._text(rate, shown)}\n"  # at once: what came between would be drawn, too
            print(line, end="", file=terminal, flush=True)

    def _is_due(self, note: str, now: float) -> bool:
        """Whether a line comes before the end."""
        waited = now - self._said_at
        if waited < _SAY_EVERY or self._said >= self._total:
            return False
        if self._done != self._said or not _words(note) <= self._words:
            return True
        return waited >= (_STALLED if note != self._said_note else _SAY_STALLED_EVERY)

    def _rate(self, now: float) -> float | None:
        """A second, since the first update; None while nothing was done."""
        if self._first is None or self._done <= self._first:
            return None
        return (self._done - self._first) / max(now - self._start, 1e-9)

    def _text(self, rate: float | None, note: str) -> str:
        share = 100 * self._done / self._total if self._total else 100.0
        parts = [f"{self._done:,}/{self._total:,} {self._unit}", f"{share:.0f} %"]
        if rate:
            parts += [f"{rate:,.1f}/s", f"ETA {clock((self._total - self._done) / rate)}"]
        return "  ".join([*parts, note] if note else parts)

    def _write(self, rate: float | None, note: str, usd: float | None) -> None:
        if self._path is None:
            return
        record = {
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "rate": rate,
            "eta_seconds": max(self._total - self._done, 0) / rate if rate else None,
            "note": note,
            "usd": usd,
            "at": time.time(),
        }
        with contextlib.suppress(OSError):
            durable.write(self._path, json.dumps(record) + "\n", sync=False)


def _words(note: str) -> set[str]:
    """What a note speaks of, whatever its figures are."""
    return {word.strip(",:") for word in note.split() if not word[0].isdigit()}


@contextlib.contextmanager
def live_line() -> Iterator[None]:
    """While it lasts, progress on a terminal is one line that is redrawn; what else is printed scrolls by above it."""
    before = sys.stderr
    if not before.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    sys.stderr = terminal = _Terminal(before)
    try:
        yield
    finally:
        terminal.leave()
        sys.stderr = before


class _Terminal(io.TextIOBase):
    """stderr on a terminal, with a line at its end that is redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._drawn = stream, False
        self._labelled = True

    def redraw(self, label: str, text: str) -> None:
        """The last line, cut to the terminal's width; the label, which says nothing new, goes first, and for good."""
        width = (os.get_terminal_size(self.fileno()).columns or 80) - 1
        self._labelled &= len(label) + 2 + len(text) <= width
        line = f"{label}  {text}" if self._labelled else text
        if len(line) > width:
            words = line[: width - 1].split(" ")[:-1]
            while words and words[-1].replace(",", "").replace(".", "").isdecimal():  # a figure, and not of what
                words.pop()
            line = " ".join(words).rstrip(" ,") + " …"
        self._stream.write(f"\r{line}\x1b[K")
        self._stream.flush()
        self._drawn = True

    def leave(self) -> None:
        """The line stays as it is, and what comes next comes below."""
        if self._drawn:
            self._stream.write("\n")
            self._drawn = False

    def write(self, text: str) -> int:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._drawn = False
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()


def pipe_name(descriptor: int) -> str:
    """What tells a pipe from others. A job that inherits the variable may write elsewhere, as Slurm's do."""
    pipe = os.fstat(descriptor)
    return f"{pipe.st_dev}:{pipe.st_ino}"


def is_ours(stream: TextIO | io.TextIOBase) -> bool:
    """Whether it is a terminal, and we are in its foreground: jobs in the background share it, and would overwrite one
    another."""
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    return False
