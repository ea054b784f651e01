"""The warm server of `orcac run` (orcac/warm): starts it, and is its main module."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orcac.warm import VARIABLE
from orcac.warm.server import serve


@contextlib.contextmanager
def warm_server() -> Iterator[dict[str, str]]:
    """Run a warm server during the block, and yield the variables of the environment that lead jobs to it.

    There are none if the system is not Linux, or if ORCAC_WARM=0 asks for cold jobs.
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
            server.kill()
            server.communicate()


def _is_possible() -> bool:
    """Return whether the system is one where a fork is safe after torch is imported, and can wait for a process."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # Linux before 5.3
        return False
    return True


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as descriptor:
        serve(descriptor)
    from orcac.cli import main

    main()
