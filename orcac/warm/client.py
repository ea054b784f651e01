"""Lets the warm server make a node for this process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from orcac.progress import print_line
from orcac.warm import STARTED, VARIABLE
from orcac.warm.request import LARGEST_BYTES, Request

_LONGEST_ANSWER = 16  # bytes
_KILLED = 128 + signal.SIGKILL  # the exit code of a job that the end of its run killed
_FORWARDED = (signal.SIGINT, signal.SIGTERM)


def make_warm() -> None:
    """Run this process's command line in the warm server, if one is offered, and exit as the job does.

    Return if this process must run it by itself: there is no server, it declines, or it died.
    """
    path = os.environ.pop(VARIABLE, "0")
    if path == "0":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.connect(path)
        except OSError:
            return
        answer = b""
        with contextlib.suppress(OSError):
            answer = _ask(server)
    if answer.isdigit():
        _exit_as(int(answer))
    if answer == STARTED and not Path(path).exists():
        sys.exit(_KILLED)  # the run has ended
    if answer == STARTED:
        print_line("the warm job died with its server; this process goes on")


def _ask(server: socket.socket) -> bytes:
    """Return the wait status of the job that a server ran for this process; STARTED if the job died with the server.

    Any other answer means that no job was started. Raises OSError as well, if there was none.
    """
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_BYTES)
    streams = [_open_stream(number) for number in range(3)]
    socket.send_fds(server, [Request.of_this_process().to_bytes()], streams)
    answer = server.recv(_LONGEST_ANSWER)
    if answer == STARTED:
        with _forwarding_signals(server), contextlib.suppress(OSError):
            return server.recv(_LONGEST_ANSWER) or STARTED
    return answer


def _open_stream(number: int) -> int:
    """Return a descriptor of stdin, stdout or stderr; of /dev/null if it is closed."""
    try:
        return os.dup(number)
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _forwarding_signals(server: socket.socket) -> Iterator[None]:
    """Send the signals that this process gets to its job, and pause and go on together with it."""

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            server.send(bytes([number]))

    def pause(number: int, frame: FrameType | None) -> None:
        forward(signal.SIGSTOP, frame)
        os.kill(os.getpid(), signal.SIGSTOP)

    handlers = dict.fromkeys(_FORWARDED, forward) | {signal.SIGTSTP: pause, signal.SIGCONT: forward}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _exit_as(status: int) -> None:
    """End this process as its job ended, with the job's wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:  # its effect cannot be set
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
