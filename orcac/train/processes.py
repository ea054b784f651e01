"""Starts the processes of a stage and waits for them, as if they were one.

- Rank 0's stderr is passed through line by line. The stderr of the other ranks and all stdout are kept, a few lines per
  rank, and shown with the rank's number if the stage fails.
- The stdin of each process is a pipe from this one. A process ends itself when the pipe closes, so none survives the
  death of this process, on this machine or, since srun passes stdin on, on another.
- A SIGTERM to this process goes on to all others through that pipe (srun would treat the signal as an order to kill).
  They save a checkpoint together, and the stage ends with SystemExit(143).
- If one process fails, the rest cannot go on: they wait for it in a collective operation. They get a few seconds to
  report their own errors, then SIGKILL. An error that a rank recorded (`record_error`) is raised here unchanged.
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
from typing import IO, NamedTuple

from orcac import errors
from orcac.errors import KilledError, OrcacError
from orcac.progress import REDRAWN
from orcac.store import durable
from orcac.train.launch import Command

_KEPT_LINES = 15  # per rank
_SHOWN_WIDTH = 200  # characters per line
STOPPED = 128 + signal.SIGTERM  # exit code of a process that saved and ended after a SIGTERM


def run(commands: Sequence[Command], work: Path, *, poll_s: float = 0.1, grace_s: float = 5.0) -> None:
    """Run the processes to their end; `work` is the stage's folder, where ranks record their errors.

    `poll_s`: seconds between two looks at the processes. `grace_s`: seconds that the others get after one has failed.
    Raises the OrcacError or OSError that a rank recorded, KilledError if the system killed a process, OrcacError if one
    failed otherwise, and SystemExit(143) after a SIGTERM to this process or to a rank.
    """
    for path in work.glob("error-*.json"):
        path.unlink()
    processes = _Processes(commands)
    try:
        with _forwarding_sigterm(processes):
            processes.wait(poll_s=poll_s, grace_s=grace_s)
    finally:
        processes.kill()
    if processes.succeeded:
        return
    _raise_recorded_error(work)
    if processes.was_stopped:
        raise SystemExit(STOPPED)
    error = KilledError if processes.was_killed else OrcacError
    raise error(
        f"{processes.describe_failure()}{processes.format_last_lines()}",
        fix="find the cause in the lines above; if a process was killed for memory, raise hardware.train.memory or "
        "lower hardware.train.micro_batch",
    )


def record_error(error: BaseException, *, rank: int, work: Path) -> None:
    """Record in `work` that this rank saved and ended, or the error that ended it, if its message is enough to act on.

    Any other error shows in the rank's stderr.
    """
    record: dict[str, object]
    if isinstance(error, OrcacError):
        record = {"type": type(error).__name__, "message": error.message, "fix": error.fix}
    elif isinstance(error, SystemExit):
        record = {"exit": error.code}
    elif isinstance(error, OSError) and error.errno:
        record = {"errno": error.errno, "strerror": error.strerror, "filename": str(error.filename or work)}
    else:
        return
    durable.write(work / f"error-{rank}.json", json.dumps(record))


def watch_stdin() -> None:
    """Start a thread of a rank that turns each line on stdin into a SIGTERM to this process, and the end of stdin into
    a SIGKILL to its process group."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1 << 16):
                os.kill(os.getpid(), signal.SIGTERM)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _raise_recorded_error(work: Path) -> None:
    """Raise the error that was recorded first, if any; the errors of the other ranks often follow from it."""
    for path in sorted(work.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "exit" in record:
            raise SystemExit(record["exit"])
        if "errno" in record:
            raise OSError(record["errno"], record["strerror"], record["filename"])
        raise getattr(errors, record["type"])(record["message"], fix=record["fix"])


class _Failure(NamedTuple):
    process: int  # its index in the order of the commands
    exit_code: int  # negative for a signal, as subprocess has it


class _Processes:
    """The started processes of a stage, their last lines and their exit codes."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._last_lines: dict[str, collections.deque[str]] = {}  # by rank ("rank 3"), and those of srun ("srun")
        self._stop_requested = False
        self._readers: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._failure: _Failure | None = None  # the one that explains the others
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
        for stream, is_shown in ((process.stdout, False), (process.stderr, True)):
            assert stream
            reader = threading.Thread(target=self._read_lines, args=(stream, command.rank, is_shown), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read_lines(self, stream: IO[bytes], rank: int | None, is_shown: bool) -> None:
        for raw in stream:
            text = raw.decode("utf-8", "replace").rstrip("\n")
            name, line = (f"rank {rank}", text) if rank is not None else _split_label(text)
            kept = self._last_lines.setdefault(name, collections.deque(maxlen=_KEPT_LINES))
            kept.append(line.removeprefix(REDRAWN))
            if is_shown and name == "rank 0":
                print(f"{line}\n", end="", file=sys.stderr, flush=True)  # in one write, as `progress` does

    def wait(self, *, poll_s: float, grace_s: float) -> None:
        """Return when all processes have ended, or `grace_s` seconds after one has failed."""
        deadline = float("inf")
        while [process for process in self._processes if process.poll() is None]:  # polls each one, so not `any`
            if self._failure is None and (failure := self._find_failure()):
                self._failure = failure
                deadline = time.monotonic() + grace_s
                if self.was_stopped:
                    self.request_stop()
            if time.monotonic() > deadline:
                break
            time.sleep(poll_s)
        self._failure = self._find_kill() or self._failure or self._find_failure()

    def _find_failure(self) -> _Failure | None:
        for index, process in enumerate(self._processes):
            if process.returncode:
                return _Failure(index, process.returncode)
        return None

    def _find_kill(self) -> _Failure | None:
        """Return the process that the system killed, mostly for memory. The others' errors follow from that kill, and
        may be noticed before it, since a large process takes a while to end."""
        for index, process in enumerate(self._processes):
            if process.returncode == -signal.SIGKILL:
                return _Failure(index, process.returncode)
        return None

    @property
    def succeeded(self) -> bool:
        return all(process.returncode == 0 for process in self._processes)

    @property
    def was_stopped(self) -> bool:
        """True if the processes ended because of a SIGTERM to this process or to a rank. srun's own exit code is not
        evidence: srun sends SIGTERM to the other ranks when one has died."""
        if self._stop_requested or self._failure is None:
            return self._stop_requested
        index, code = self._failure
        return self._commands[index].rank is not None and code in (STOPPED, -signal.SIGTERM)

    @property
    def was_killed(self) -> bool:
        """True if the failed process was killed by the system."""
        return self._failure is not None and self._failure.exit_code == -signal.SIGKILL

    def describe_failure(self) -> str:
        """Return for example "rank 1 of 2 was ended by SIGKILL"."""
        assert self._failure
        index, code = self._failure
        rank = self._commands[index].rank
        name = "srun" if rank is None else f"rank {rank} of {len(self._commands)}"
        return (
            f"{name} was ended by {signal.Signals(-code).name}" if code < 0 else f"{name} ended with exit code {code}"
        )

    def format_last_lines(self) -> str:
        """Return the last lines of the failed process, each after its rank; for an srun, those of all its ranks."""
        assert self._failure
        for reader in self._readers:
            reader.join(1.0)
        rank = self._commands[self._failure.process].rank
        names = sorted(self._last_lines) if rank is None else [f"rank {rank}"]
        return "".join(
            f"\n    [{name}] {line[:_SHOWN_WIDTH]}" for name in names for line in self._last_lines.get(name, ())
        )

    def request_stop(self) -> None:
        """Ask all processes to save and end."""
        self._stop_requested = True
        for process in self._processes:
            assert process.stdin
            with contextlib.suppress(OSError):  # it has ended
                os.write(process.stdin.fileno(), b"stop\n")

    def kill(self) -> None:
        """Kill the processes that are left, with their children."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin
            process.stdin.close()


def _split_label(text: str) -> tuple[str, str]:
    """Split a line of `srun --label` into its source ("rank 3") and its text; a line without a label is srun's own."""
    found = re.match(r" *(\d+): ?(.*)", text)
    return (f"rank {int(found[1])}", found[2]) if found else ("srun", text)


@contextlib.contextmanager
def _forwarding_sigterm(processes: _Processes) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: processes.request_stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
