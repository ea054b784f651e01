"""Runs a command for as long as somebody holds our standard input open, then ends it and all that it started.

Whoever starts a server through this cannot leave it behind, however it dies: a killed process closes its pipes.

    python -m orcac.chat.endpoints.guard COMMAND...
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 15.0  # between the request to end and the end


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # of a scheduler: our starter decides. SIG_IGN would be inherited
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # what it started and left
    os._exit(code if code >= 0 else 128 - code)  # the thread may still wait for input


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), 1 << 16):
        pass
    _signal(child, signal.SIGTERM)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group that is gone
        os.killpg(child.pid, number)


if __name__ == "__main__":
    main()
