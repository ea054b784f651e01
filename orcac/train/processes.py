"""Starts the processes of a stage and waits for them, as if they were one.

- Lines of rank 0's stderr are passed through as they come; what the others say, and all stdout, is kept for the case
  that something goes wrong, a few lines a rank, and shown with the rank.
- Each holds the reading end of a pipe as its stdin. When that closes it ends itself: so none outlives us, however we
  die, on this machine or (srun hands the pipe on) on another.
- A SIGTERM to us goes on to all of them through that pipe (srun would take the signal for an order to kill). They save
  a checkpoint together, and the stage ends with SystemExit(143).
- When one ends badly the rest cannot go on: they wait for it in a collective operation. They get a few seconds to say
  what they know, then SIGKILL. An error that a rank could name (`tell`) is raised here as that very error.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from orcac import errors
from orcac.errors import OrcacError
from orcac.progress import REDRAWN
from orcac.store import durable
from orcac.train.launch import Command

_POLL_S = 0.1
_GRACE_S = 5.0  # for the others, once one has ended badly
_KEPT = 15  # lines a rank
_SHOWN = 200  # characters a line
STOPPED = 128 + signal.SIGTERM  # exit code of a process that saved and ended because it was told to


def run(commands: Sequence[Command], work: Path) -> None:
    """Run them to their end. `work` is the stage's, where they leave word of errors.

    Raises the OrcacError or OSError that a rank told, OrcacError where one ended otherwise, SystemExit(143) after a
    SIGTERM to us or to one of them.
    """
    for path in work.glob("error-*.json"):
        path.unlink()
    group = _Group(commands)
    try:
        with _forwarding(group):
            group.wait()
    finally:
        group.kill()
    if group.ended_well:
        return
    _raise_told(work)
    if group.stopped:
        raise SystemExit(STOPPED)
    raise OrcacError(
        f"{group.culprit}{group.last_lines()}",
        fix="see the log above; where it was killed for memory, give more of it, or lower micro_batch_rows",
    )


def tell(error: BaseException, *, rank: int, work: Path) -> None:
    """Called in a rank: leave word of why it ends: that it saved, or an error that a person can act on.

    Other errors show in the rank's stderr.
    """
    said: dict[str, Any]
    if isinstance(error, OrcacError):
        said = {"type": type(error).__name__, "message": error.message, "fix": error.fix}
    elif isinstance(error, SystemExit):
        said = {"exit": error.code}
    elif isinstance(error, OSError) and error.errno:
        said = {"errno": error.errno, "strerror": error.strerror, "filename": str(error.filename or work)}
    else:
        return
    durable.write(work / f"error-{rank}.json", json.dumps(said))


def obey_starter() -> None:
    """Called in a rank: from now on a line that comes in through its stdin is a SIGTERM, and its end the end of this
    process and of what it started."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1 << 16):
                os.kill(os.getpid(), signal.SIGTERM)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _raise_told(work: Path) -> None:
    """What the first rank told; what the others did often follows from it."""
    for path in sorted(work.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns):
        said = json.loads(path.read_text(encoding="utf-8"))
        if "exit" in said:
            raise SystemExit(said["exit"])
        if "errno" in said:
            raise OSError(said["errno"], said["strerror"], said["filename"])
        raise getattr(errors, said["type"])(said["message"], fix=said["fix"])


class _Group:
    """The processes that were started, and what became of them."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._said: dict[str, collections.deque[str]] = {}  # the last lines of each rank, and of srun
        self._told_to_stop = False
        self._readers: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._first: tuple[int, int] | None = None  # which ended badly first, and its exit code
        for command in commands:
            self._start(command)

    def _start(self, command: Command) -> None:
        process = subprocess.Popen(
            command.line,
            env=os.environ | {"ORCAC_HOST": socket.gethostname()} | command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._processes.append(process)
        for stream, shown in ((process.stdout, False), (process.stderr, True)):
            assert stream
            reader = threading.Thread(target=self._read, args=(stream, command.rank, shown), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, stream: IO[bytes], rank: int | None, shown: bool) -> None:
        for raw in stream:
            text = raw.decode("utf-8", "replace").rstrip("\n")
            name, line = (f"rank {rank}", text) if rank is not None else _unlabelled(text)
            kept = self._said.setdefault(name, collections.deque(maxlen=_KEPT))
            kept.append(line.removeprefix(REDRAWN))
            if shown and name == "rank 0":
                print(f"{line}\n", end="", file=sys.stderr, flush=True)  # at once, as `progress` does

    def wait(self) -> None:
        """Until all have ended; not for long once one has ended badly."""
        deadline = float("inf")
        while [process for process in self._processes if process.poll() is None]:  # each is asked, not up to the first
            if self._first is None and (found := self._bad()):
                self._first = found
                deadline = time.monotonic() + _GRACE_S
                if self.stopped:
                    self.stop()
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        self._first = self._killed() or self._first or self._bad()

    def _bad(self) -> tuple[int, int] | None:
        for index, process in enumerate(self._processes):
            if process.returncode:
                return index, process.returncode
        return None

    def _killed(self) -> tuple[int, int] | None:
        """The one that the system killed (for memory, mostly): the others' errors follow from that, and may be seen
        first, since a large process takes a while to end."""
        for index, process in enumerate(self._processes):
            if process.returncode == -signal.SIGKILL:
                return index, process.returncode
        return None

    @property
    def ended_well(self) -> bool:
        return all(process.returncode == 0 for process in self._processes)

    @property
    def stopped(self) -> bool:
        """Whether they ended because somebody told us or one of them to. srun tells the rest to when one has died."""
        if self._told_to_stop or self._first is None:
            return self._told_to_stop
        index, code = self._first
        return self._commands[index].rank is not None and code in (STOPPED, -signal.SIGTERM)

    @property
    def culprit(self) -> str:
        """Who ended badly, and how, for a message."""
        assert self._first
        index, code = self._first
        rank = self._commands[index].rank
        who = "srun" if rank is None else f"rank {rank} of {len(self._commands)}"
        return f"{who} was ended by {signal.Signals(-code).name}" if code < 0 else f"{who} ended with exit code {code}"

    def last_lines(self) -> str:
        """What the one that ended badly said last, line by line with its rank; of srun's ranks, all of them."""
        assert self._first
        for reader in self._readers:
            reader.join(1.0)
        rank = self._commands[self._first[0]].rank
        names = sorted(self._said) if rank is None else [f"rank {rank}"]
        return "".join(f"\n    [{name}] {line[:_SHOWN]}" for name in names for line in self._said.get(name, ()))

    def stop(self) -> None:
        """Ask all to save and end."""
        self._told_to_stop = True
        for process in self._processes:
            assert process.stdin
            with contextlib.suppress(OSError):  # it has ended
                os.write(process.stdin.fileno(), b"stop\n")

    def kill(self) -> None:
        """End all that is left, with what it started."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin
            process.stdin.close()


def _unlabelled(text: str) -> tuple[str, str]:
    """A line of `srun --label` as whose it is and what it says; a line without a label is srun's own."""
    found = re.match(r" *(\d+): ?(.*)", text)
    return (f"rank {int(found[1])}", found[2]) if found else ("srun", text)


@contextlib.contextmanager
def _forwarding(group: _Group) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: group.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
