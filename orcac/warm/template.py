"""A template: a process that has imported packages under one environment, and forks jobs.

It forks only while it has one thread. Pools of threads that packages made at import are closed first: OpenBLAS does it
at any fork, and Arrow's allocator is told to have none. If threads remain, the template declines all requests.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import io
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from orcac.warm import COLD, STARTED
from orcac.warm.request import LARGEST_BYTES, Request

_PR_SET_PDEATHSIG = 1


def wait_for_input(sources: Sequence[int | socket.socket]) -> list[int | socket.socket]:
    """Wait until one of the sources can be read or is closed, and return those that are.

    `select.select` would refuse descriptors above 1,023, which a process with many open files hands down.
    """
    poll = select.poll()
    for source in sources:
        poll.register(source, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    return [source for source in sources if (source if isinstance(source, int) else source.fileno()) in ready]


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """A forked job, which leads a process group and session of its own."""

    pid: int
    pidfd: int  # readable when the job has ended
    connection: socket.socket  # to the process that waits for it

    def read_connection(self) -> None:
        """Send the job the signals that have arrived for it, or SIGKILL if the process that waits for it died."""
        numbers = b""
        with contextlib.suppress(ConnectionResetError):
            numbers = self.connection.recv(1)
        for number in numbers or [signal.SIGKILL]:
            is_for_all = number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)  # as Ctrl-Z on a terminal is
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            with contextlib.suppress(ProcessLookupError):  # it has made no group yet, or has ended
                if is_for_all:
                    os.killpg(self.pid, number)

    def report(self) -> None:
        """Wait for the end of the job, send its wait status, and close the connection."""
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            self.connection.send(str(status).encode())
        self.connection.close()
        os.close(self.pidfd)


def serve_jobs(control: socket.socket, *, server: int, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """Import `modules` under `environ`, and fork a job for each request that comes over `control`.

    Return only in the process of a job, as the process that sent the request. The template ends with its parent, the
    process `server`, and its jobs end with it.
    """
    _die_with(server)
    is_fit = _import(modules, environ)
    jobs: list[_Job] = []
    while True:
        watched: list[int | socket.socket] = [control, *(job.pidfd for job in jobs), *(job.connection for job in jobs)]
        ready = wait_for_input(watched)
        for job in list(jobs):
            if job.pidfd in ready:
                job.report()
                jobs.remove(job)
            elif job.connection in ready:
                job.read_connection()
        if control in ready:
            message, received, *_ = socket.recv_fds(control, LARGEST_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
            connection, streams = socket.socket(fileno=received[0]), received[1:]
            template = os.getpid()
            if not is_fit:
                with contextlib.suppress(OSError):
                    connection.send(COLD)
                connection.close()
            elif pid := os.fork():
                jobs.append(_Job(pid, os.pidfd_open(pid), connection))
                with contextlib.suppress(OSError):
                    connection.send(STARTED)
            else:
                for descriptor in (control, connection, *(job.connection for job in jobs)):
                    descriptor.close()
                for job in jobs:
                    os.close(job.pidfd)
                os.setsid()
                _die_with(template)
                Request.from_bytes(message).take_over(streams)
                return
            for stream in streams:
                os.close(stream)


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _import(modules: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Import the modules under a job's environment, and return whether this process is then safe to fork."""
    os.environ.clear()
    os.environ.update(environ)
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Current("stdout", sys.stdout), _Current("stderr", sys.stderr)
    for name in modules:
        with contextlib.suppress(Exception):  # the job meets the same error, and reports it
            importlib.import_module(name)
    sys.stdout, sys.stderr = streams
    gc.collect()
    gc.freeze()  # the jobs' searches for cycles would copy these pages
    if not (pid := os.fork()):  # a fork closes OpenBLAS's pool of threads
        os._exit(0)
    os.waitpid(pid, 0)
    return len(list(Path("/proc/self/task").iterdir())) == 1


class _Current(io.TextIOBase):
    """A stream that writes to the present `sys.stdout` or `sys.stderr`.

    Packages keep the stream that they find when they are imported. A job replaces it, to write its log as well.
    """

    def __init__(self, name: str, first: TextIO) -> None:
        self._name, self._first = name, first

    @property
    def _present(self) -> TextIO:
        stream: TextIO = getattr(sys, self._name)
        return self._first if stream is self else stream

    def write(self, text: str) -> int:
        return self._present.write(text)

    def flush(self) -> None:
        self._present.flush()

    def isatty(self) -> bool:
        return self._present.isatty()

    def fileno(self) -> int:
        return self._present.fileno()
