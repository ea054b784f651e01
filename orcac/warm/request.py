"""Request: everything that a forked job takes over from the `orcac make` that asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import orcac

LARGEST_BYTES = 1 << 20  # of a message; the system sets a lower limit, and its sender then makes the node by itself
THREADS = "OMP_NUM_THREADS"  # the variable that torch reads when it is imported
_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """The state of a process that asks for a job. Its open streams travel beside it."""

    argv: list[str]
    folder: str
    environ: dict[str, str]
    umask: int
    limits: dict[str, list[int]]  # name in `resource` -> soft and hard limit, e.g. of memory
    place: list[str]  # `find_place`

    @property
    def kind(self) -> str:
        """The kind of the node to make, or "" if the command line is not `orcac make KIND/ID`."""
        return self.argv[2].partition("/")[0] if len(self.argv) > 2 and self.argv[1] == "make" else ""

    @classmethod
    def of_this_process(cls) -> Request:
        """Return the request of the process that calls this."""
        os.umask(umask := os.umask(0o077))
        limits = {name: list(resource.getrlimit(number)) for name, number in _LIMITS.items()}
        return cls(sys.argv, str(Path.cwd()), dict(os.environ), umask, limits, find_place())

    def to_bytes(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Request:
        return cls(**json.loads(message))

    def take_over(self, streams: Sequence[int]) -> None:
        """Turn this process into the one that sent the request. `streams` are its stdin, stdout and stderr."""
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(self.environ)
        os.chdir(self.folder)
        os.umask(self.umask)
        for name, (soft, hard) in self.limits.items():
            with contextlib.suppress(ValueError):  # the hard limit of this process is lower
                resource.setrlimit(_LIMITS[name], (soft, hard))
        if numpy_random := sys.modules.get("numpy.random"):  # Python seeds its own generator after a fork
            numpy_random.seed()
        set_threads(self.environ)
        sys.argv = self.argv
        sys.stdin = os.fdopen(0, encoding=sys.stdin.encoding, closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
        sys.stderr = os.fdopen(
            2, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, buffering=1, closefd=False
        )


def set_threads(environ: Mapping[str, str]) -> None:
    """Let torch compute on the threads that it would have read from `environ` if it were imported now."""
    threads = environ.get(THREADS, "")
    if (torch := sys.modules.get("torch")) and threads.isdigit() and int(threads):
        torch.set_num_threads(int(threads))


def find_place() -> list[str]:
    """Return the interpreter, the package and the file systems of this process: a container has others."""
    return [sys.executable, str(orcac.__file__), str(Path("/proc/self/ns/mnt").readlink())]
