"""Processes that share the work of a job: one function over several arguments, with the results in order.

A worker is a fresh interpreter, so nothing of the job is shared with it but the argument: threads, locks and open files
stay where they are. The function must be one of a module, and its argument and result must be picklable. A worker ends
with its job, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from orcac.errors import OrcacError

__all__ = ["run_in_order"]

A = TypeVar("A")
R = TypeVar("R")

_CHECK = 1.0  # seconds between two looks at the parent


def run_in_order(function: Callable[[A], R], arguments: Sequence[A], *, processes: int) -> Iterator[R]:
    """Yield the function's result for each argument, in order, computed by up to `processes` processes.

    With one process, or one argument, this process does the work. An error of the function is raised where its result
    would be. Raises OrcacError if a worker is killed.
    """
    if processes <= 1 or len(arguments) <= 1:
        yield from map(function, arguments)
        return
    workers: list[subprocess.Popen[bytes]] = []
    of_thread, has_ended = threading.local(), threading.Event()

    def ask(argument: A) -> R:
        if not hasattr(of_thread, "worker"):
            of_thread.worker = _start()
            workers.append(of_thread.worker)
        if has_ended.is_set():
            of_thread.worker.kill()
        return _ask(of_thread.worker, function, argument)

    pool = ThreadPoolExecutor(min(processes, len(arguments)))
    try:
        yield from pool.map(ask, arguments)
    finally:
        has_ended.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        pool.shutdown()
        for worker in workers:
            worker.wait()
            for stream in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):  # an argument that the worker did not read
                    if stream:
                        stream.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "orcac.workers", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # an interrupt of the terminal ends it through this process
    )


def _ask(worker: subprocess.Popen[bytes], function: Callable[[A], R], argument: A) -> R:
    assert worker.stdin and worker.stdout
    try:
        pickle.dump((function, argument), worker.stdin)
        worker.stdin.flush()
        is_result, value = pickle.load(worker.stdout)  # noqa: S301 our own worker's words
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise OrcacError(
            "a worker process was killed", fix="give the job more memory, or fewer threads; then run again"
        ) from error
    if is_result:
        result: R = value
        return result
    raise value


def main() -> None:
    """Answer the parent's questions until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a line that the function prints is no answer
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    while question := _read(sys.stdin.buffer):
        answer = _answer(*question)
        with contextlib.suppress(BrokenPipeError):
            answers.write(answer)
            answers.flush()


def _answer(function: Callable[[Any], Any], argument: Any) -> bytes:
    """Return (True, result) or (False, error), pickled. An error of the program carries its traceback as a note.

    A result that cannot be pickled is an error; an error that cannot is a RuntimeError with the traceback as its text.
    """
    try:
        return pickle.dumps((True, function(argument)), protocol=5)
    except Exception as error:
        text = traceback.format_exc()
        if not isinstance(error, OrcacError):
            error.add_note(f"in a worker process:\n{text}")
        try:
            answer = pickle.dumps((False, error), protocol=5)
            pickle.loads(answer)  # noqa: S301 some errors can be written, but not read
        except Exception:
            answer = pickle.dumps((False, RuntimeError(f"in a worker process:\n{text}")), protocol=5)
        return answer


def _read(stream: IO[bytes]) -> tuple[Callable[[Any], Any], Any] | None:
    try:
        question: tuple[Callable[[Any], Any], Any] = pickle.load(stream)  # noqa: S301 our parent's
        return question
    except EOFError:
        return None


def _end_with(parent: int) -> None:
    """End this process once its parent has ended."""
    while os.getppid() == parent:
        time.sleep(_CHECK)
    os._exit(1)


if __name__ == "__main__":
    main()
