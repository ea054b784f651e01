"""Tests of orcac/workers.py: results in order, errors, and workers that do not outlive their job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orcac.errors import InputError, OrcacError
from orcac.workers import run_in_order


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order(processes: int) -> None:
    assert [*run_in_order(abs, [-5, 4, -3], processes=processes)] == [5, 4, 3]


def test_an_error_of_the_function_is_raised_where_its_result_would_be() -> None:
    results = run_in_order(os.stat, [".", "/absent", "."], processes=2)
    assert next(results).st_size > 0
    with pytest.raises(FileNotFoundError):
        next(results)


def test_an_error_of_a_user_keeps_its_message_and_fix() -> None:
    error = InputError("no", fix="do")
    with pytest.raises(InputError) as raised:
        list(run_in_order(_raise, [error, error], processes=2))
    assert str(raised.value) == str(error)


def _raise(error: Exception) -> None:
    raise error


class _TwoArguments(Exception):
    """An error that is pickled, but cannot be read back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


def _raise_kind(kind: str) -> object:
    if kind == "result":
        return lambda: None
    if kind == "lambda":
        raise ValueError(lambda: None)
    raise _TwoArguments("a", "b") if kind == "arguments" else ValueError("plain")


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="plain") as raised:
        list(run_in_order(_raise_kind, ["plain", "plain"], processes=2))
    assert "in _raise_kind" in "".join(raised.value.__notes__)


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("result", AttributeError, "pickle"),
        ("lambda", RuntimeError, "in _raise_kind"),
        ("arguments", RuntimeError, "in _raise_kind"),
    ],
)
def test_a_result_or_an_error_that_cannot_be_pickled_is_reported_as_such(
    kind: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        list(run_in_order(_raise_kind, [kind, kind], processes=2))


def test_a_killed_worker_is_an_error_with_a_fix() -> None:
    with pytest.raises(OrcacError, match="a worker process was killed"):
        list(run_in_order(os._exit, [9, 9], processes=2))


def test_what_a_function_prints_is_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    assert [*run_in_order(print, ["a", "b"], processes=2)] == [None, None]


def test_a_killed_job_leaves_no_worker_behind() -> None:
    script = "import time\nfrom orcac.workers import run_in_order\nprint('on', flush=True)\n"
    script += "list(run_in_order(time.sleep, [600, 600], processes=2))"
    job = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert job.stdout and job.stdout.readline()
    deadline = time.monotonic() + 300
    while len(workers := _children(job.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    job.send_signal(signal.SIGKILL)
    job.communicate()
    while any(map(_is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_running, workers))


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for path in lists for word in path.read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
