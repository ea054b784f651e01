"""The warm server of `orcac run` (orcac/warm): starts it, and is its main module."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from orcac.warm import VARIABLE
from orcac.warm.server import serve

_ENDS_IN_S = 10.0


@contextlib.contextmanager
def warm_server() -> Iterator[dict[str, str]]:
    """Run a warm server during the block, and yield the variables of the environment that lead jobs to it.

    If the system is not Linux, or ORCAC_WARM=0 asks for cold jobs, no server runs, and the variable keeps jobs cold.
    """
    if os.environ.get(VARIABLE) == "0" or not _is_possible():
        yield {VARIABLE: "0"}
        return
    with tempfile.TemporaryDirectory(prefix="orcac-", ignore_cleanup_errors=True) as folder:  # this user's alone
        path = Path(folder) / "warm"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                listener.bind(str(path))
            except OSError:  # TMPDIR is too long for a socket
                yield {VARIABLE: "0"}
                return
            listener.listen(128)
            line = [sys.executable, "-P", "-m", "orcac.cli.warm", str(listener.fileno())]
            server = subprocess.Popen(line, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], start_new_session=True)
        try:
            yield {VARIABLE: str(path)}
        finally:
            path.unlink()  # a job that is still there then knows that the run has ended
            try:
                server.communicate(timeout=_ENDS_IN_S)  # closes its stdin
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _is_possible() -> bool:
    """Return whether the system is one where a fork is safe after torch is imported, and can wait for a process."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # Linux before 5.3
        return False
    return True


def _run_job() -> NoReturn:
    """Run the command line that this process took over, and end it as Python ends a process that was forked.

    The whole end of an interpreter, which frees every object that the template has imported, takes 0.1 s and more.
    """
    from orcac.cli import main

    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    threading._shutdown()  # type: ignore[attr-defined]  # as in `multiprocessing`, it waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as descriptor:
        serve(descriptor)
    _run_job()
