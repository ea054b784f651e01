"""Progress as lines on stderr: the count, the rate, the time left, and a note.

    train assistant  1,200/1,758 steps  68 %  22.1/s  ETA 0:25  loss 0.412
    collect answers  1,200/3,000 answers  40 %  no answers for 0:45  retried: 310 rate_limit  16 in flight

Several nodes run side by side under Snakemake, in one terminal or into logs. So a line is plain text: it names its
node, is complete by itself and moves no cursor. While work advances there is a line every 5 s. While it does not, there
is one at once if the note has a new word, else every 30 s, or every 60 s if the note stays the same.

A process that has a terminal to itself shows one line instead, redrawn in place (`redraw_in_place`). Under `orcac run`
all nodes write into a pipe to it. Lines of a node that has a progress file begin with the mark REDRAWN there: `orcac
run` drops them and redraws the node from its file.

The progress file is small JSON, rewritten once a second for other processes to read (`orcac status`): done, total,
unit, rate (per second), eta_seconds, note, usd (null if unknown), at (seconds since 1970). It is for people, so it is
replaced atomically but not synced, and a node that cannot write it goes on without it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from orcac.store import durable
from orcac.text import clean, clock, pace

REDRAWN = "\x1e"  # the first character of a line that `orcac run` redraws from the node's file
REDRAWN_VARIABLE = "ORCAC_DRAWN"  # the environment variable that holds the `pipe_id` of the pipe to `orcac run`


def print_line(text: str) -> None:
    """Print a line, or several, on stderr. A terminal obeys none of their characters: they may be a server's."""
    print(clean(text), file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The waits between two displays of progress, in seconds."""

    redraw: float = 0.5  # between two looks at what is due; a line in place is redrawn as often
    file: float = 1.0  # between two writes of the file
    line: float = 5.0  # between two lines while work advances
    stalled: float = 30.0  # without any advance; also between two lines whose notes differ
    repeated: float = 60.0  # between two lines with the same note


_INTERVALS = Intervals()


class Progress:
    """The progress of some work, shown as lines on stderr and in the file `path`, if one is given."""

    def __init__(
        self, *, label: str, total: int, unit: str, path: Path | None = None, intervals: Intervals = _INTERVALS
    ) -> None:
        self._label, self._total, self._unit, self._path = label, total, unit, path
        self._every = intervals
        self._started = self._advanced = self._printed = time.monotonic()
        self._next_look = self._next_write = 0.0
        self._first: int | None = None  # the count at the first update
        self._done = self._printed_done = -1
        self._printed_note = ""
        self._printed_words: set[str] = set()  # of the notes of all lines so far

    def update(self, done: int, note: str = "", *, usd: float | None = None) -> None:
        """Record that `done` of `total` are done, and show it if that is due. The last update is always shown.

        `note` is text to show beside the count (loss, dollars, errors); `usd` is the cost of the work so far. A call
        that shows nothing takes well under 1 µs, so it may be called for every row. Lines come only from such calls,
        so it must also be called while no work advances.
        """
        now = time.monotonic()
        if done != self._done:
            if self._first is None:  # the rate is that of this process: a resumed node begins at the earlier count
                self._first, self._started = done, now
            self._done, self._advanced = done, now
        ends = done >= self._total and done != self._printed_done
        if now < self._next_look and not ends:
            return
        self._next_look = now + self._every.redraw
        rate, shown = self._rate(now), note
        if now - self._advanced >= self._every.stalled and done < self._total:
            rate = None
            pause = f"no {self._unit} for {clock(now - self._advanced)}"
            shown = f"{pause}  {note}" if note else pause
        if now >= self._next_write or ends:
            self._next_write = now + self._every.file
            self._write(rate, shown, usd)
        terminal = sys.stderr
        if isinstance(terminal, _Terminal) and is_in_foreground(terminal) and done < self._total:
            terminal.redraw(self._label, self._text(rate, shown))
        elif ends or self._is_due(note, now):
            self._printed, self._printed_done, self._printed_note = now, done, note
            self._printed_words |= _words(note)
            mark = "" if ends or self._path is None or REDRAWN_VARIABLE not in os.environ else REDRAWN
            # One write for the mark, the line and its end: the reader of the pipe would draw a part that came alone.
            print(f"{mark}{self._label}  {self._text(rate, shown)}\n", end="", file=terminal, flush=True)

    def _is_due(self, note: str, now: float) -> bool:
        """Return whether a line other than the last one is due."""
        waited = now - self._printed
        if waited < self._every.line or self._printed_done >= self._total:
            return False
        if self._done != self._printed_done or not _words(note) <= self._printed_words:
            return True
        return waited >= (self._every.stalled if note != self._printed_note else self._every.repeated)

    def _rate(self, now: float) -> float | None:
        """Return the rate per second since the first update; None if nothing was done since."""
        if self._first is None or self._done <= self._first:
            return None
        return (self._done - self._first) / max(now - self._started, 1e-9)

    def _text(self, rate: float | None, note: str) -> str:
        share = 100 * self._done / self._total if self._total else 100.0
        parts = [f"{self._done:,}/{self._total:,} {self._unit}", f"{share:.0f} %"]
        if rate:
            parts += [pace(rate), f"ETA {clock((self._total - self._done) / rate)}"]
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
    """Return the words of a note without its figures: a new word means that the note reports something new."""
    return {word.strip(",:") for word in note.split() if not word[0].isdigit()}


@contextlib.contextmanager
def redraw_in_place() -> Iterator[None]:
    """Show progress as one line at the end of the terminal, if stderr is one; other output scrolls by above it."""
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
        """Draw the line anew, cut to the terminal's width.

        The label is left out first, since it never changes, and stays out: a line that switched would flicker.
        """
        width = (os.get_terminal_size(self.fileno()).columns or 80) - 1
        self._labelled &= len(label) + 2 + len(text) <= width
        line = f"{label}  {text}" if self._labelled else text
        if len(line) > width:
            words = line[: width - 1].split(" ")[:-1]
            while words and words[-1].replace(",", "").replace(".", "").isdecimal():  # a figure that lost its unit
                words.pop()
            line = " ".join(words).rstrip(" ,") + " …"
        self._stream.write(f"\r{line}\x1b[K")
        self._stream.flush()
        self._drawn = True

    def leave(self) -> None:
        """Keep the line as it is and go on below it."""
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


def pipe_id(descriptor: int) -> str:
    """Return a name for the pipe that no other pipe has: a job may inherit the variable and write elsewhere (Slurm)."""
    pipe = os.fstat(descriptor)
    return f"{pipe.st_dev}:{pipe.st_ino}"


def is_in_foreground(stream: TextIO | io.TextIOBase) -> bool:
    """Return whether the stream is a terminal with this process in its foreground.

    Jobs in the background share the terminal, and would overwrite each other's line.
    """
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    return False
