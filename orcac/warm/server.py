"""The warm server, which chooses or makes the template of each request, and answers none itself."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import signal
import socket
from pathlib import Path

from orcac.devices import find_gpus
from orcac.warm import COLD
from orcac.warm.request import LARGEST_BYTES, THREADS, Request, find_place
from orcac.warm.template import serve_jobs, wait_for_input

_PATIENCE_S = 5.0  # the wait for a request after its connection
_TEMPLATES = 4  # at most: the jobs of one more environment stay cold
_STDIN = 0
_BASE = ("orcac.cli.make", "orcac.study", "orcac.make")  # imported once, for all templates
_DATA = ("numpy", "pyarrow.parquet", "pyarrow.compute", "scipy.special", "orcac.sample.run", "orcac.collect.run",
         "orcac.filter.run", "orcac.rate.run", "orcac.score.run", "orcac.report.run")  # fmt: skip
_MODELS = ("numpy", "torch", "transformers", "accelerate", "orcac.train.worker", "orcac.model.generation")
# Kind -> the modules that its template imports. They bring no package of `job.packages_in_use` that a job of the kind
# could do without: pyarrow is not in _MODELS, because training does not import it.
_MODULES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sample", "collect", "filter", "rate", "score", "report"), _DATA),
    **dict.fromkeys(("student", "tokenize", "train", "eval"), _MODELS),
}
# Snakemake sets these to the threads of each job. `Request.take_over` passes them to torch after the fork, so jobs of
# _MODELS that differ in their threads alone share a template. No result of these kinds depends on numpy's threads.
_THREAD_VARIABLES = {
    THREADS, "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
}  # fmt: skip
_IGNORED = {"PWD", "OLDPWD", "SHLVL", "_"}  # variables that no package reads when it is imported, as all of ORCAC_*

_Key = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]  # modules and environment


@dataclasses.dataclass(frozen=True, slots=True)
class _Template:
    """A template, as the server sees it."""

    pid: int
    control: socket.socket  # the server's end of the pair that they share


def serve(listener: socket.socket) -> None:
    """Make jobs for the processes that connect to `listener`. Return only in the process of a job, as that process.

    The server ends with its stdin. Its templates and their jobs end with it, at once.
    """
    for name in _BASE:
        importlib.import_module(name)
    templates: dict[_Key, _Template] = {}
    while True:
        watched: list[int | socket.socket] = [_STDIN, listener, *(template.control for template in templates.values())]
        ready = wait_for_input(watched)
        for key in [key for key, template in templates.items() if template.control in ready]:  # it died
            _end(templates.pop(key))
        if _STDIN in ready:
            for template in templates.values():
                _end(template)
            os._exit(0)
        if listener in ready and _is_job(listener, templates):
            return


def _is_job(listener: socket.socket, templates: dict[_Key, _Template]) -> bool:
    """Take in one request. Return False in the server and True in the process of a job.

    A request that fails is dropped; its sender then makes the node by itself.
    """
    with contextlib.suppress(OSError, ValueError, TypeError), contextlib.ExitStack() as opened:
        connection = opened.enter_context(listener.accept()[0])
        connection.settimeout(_PATIENCE_S)
        message, streams, *_ = socket.recv_fds(connection, LARGEST_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        for stream in streams:
            opened.callback(os.close, stream)
        request = Request.from_bytes(message)
        key = choose_template(request)
        if key is None or (key not in templates and len(templates) >= _TEMPLATES):
            connection.send(COLD)
            return False
        if key not in templates:
            server = os.getpid()
            control, of_template = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if not (pid := os.fork()):
                opened.close()
                for other in (listener, control, *(template.control for template in templates.values())):
                    other.close()
                serve_jobs(of_template, server=server, modules=key[0], environ=request.environ)
                return True
            of_template.close()
            templates[key] = _Template(pid, control)
        socket.send_fds(templates[key].control, [message], [connection.fileno(), *streams])
    return False


def _end(template: _Template) -> None:
    """Kill a template, and wait for it: the system then counts the CPU time of its jobs as part of the run."""
    template.control.close()
    os.kill(template.pid, signal.SIGKILL)
    os.waitpid(template.pid, 0)


def choose_template(request: Request) -> _Key | None:
    """Return the key of a request's template, or None if the job must stay cold."""
    if request.place != find_place():
        return None
    modules = _MODULES.get(request.kind)
    if modules is None or (modules is _MODELS and (find_gpus() or Path("/dev/kfd").exists())):
        return None
    ignored = _IGNORED | _THREAD_VARIABLES if modules is _MODELS else _IGNORED
    read = {name: value for name, value in request.environ.items() if name not in ignored and name[:6] != "ORCAC_"}
    return modules, tuple(sorted(read.items()))
