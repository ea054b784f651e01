"""Runs a command until our standard input is closed, then ends it and all processes that it started.

A server started through this cannot outlive the process that started it: a killed process closes its pipes.

    python -m orcac.chat.endpoints.guard COMMAND...
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 15.0  # between SIGTERM and SIGKILL


def main() -> None:
    # A scheduler's signal is left to the process that started us. A handler, since SIG_IGN would be inherited.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    _signal_group(child, signal.SIGKILL)  # the processes that it started and left running
    os._exit(code if code >= 0 else 128 - code)  # a normal exit would wait for the thread, which may still read


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    """End the command when our standard input is closed."""
    while os.read(sys.stdin.fileno(), 1 << 16):
        pass
    _signal_group(child, signal.SIGTERM)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter if the group is gone
        os.killpg(child.pid, number)


if __name__ == "__main__":
    main()
