"""Runs in batches against a fault server: in this process, or in one to kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from faults import FaultServer
from faults.batches import Batches, Call, Trouble
from jobs import collect_job, read_responses, run_collect

from orcac.chat.batch.tuning import Tuning
from orcac.chat.ledger.files import read_records
from orcac.chat.limits.budget import Budget
from orcac.chat.settings import Price
from orcac.cli import cli
from orcac.collect.recipe import CollectSummary

KEY = "sk-a-secret-that-must-not-be-seen"
PRICE = Price(input=1e6, output=2e6)  # a token costs 1 or 2 USD online, and half of that in a batch
ONE = (7 + 2 * 11) / 2  # USD for an answer in a batch
BOUND = ((2 + 16) + 2 * 1024) / 2  # USD for a request at most; from `q10` on it is half a dollar more
QUICK = {"poll_s": 0.005, "max_poll_s": 0.005, "settle_s": 0.2, "progress_s": 0.01, "queue_retry_s": 0.01}


def collect(
    folder: Path, server: FaultServer, tuning: dict[str, float] | None = None, **settings: Any
) -> CollectSummary:
    """Run a collect job in this process, with short waits; `tuning` replaces fields of `Tuning`."""
    job = collect_job(folder, server.base_url, **{"mode": "batch", "price": PRICE, **settings})
    return run_collect(job, Tuning(**(QUICK | (tuning or {}))))


def start(folder: Path, server: FaultServer, **settings: float) -> subprocess.Popen[str]:
    """Start the same in a process of its own."""
    child = Path(__file__).parent / "batch" / "batch_child.py"
    arguments = [sys.executable, child, folder, server.base_url, json.dumps(settings)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def wait_until_submitted(child: subprocess.Popen[str]) -> None:
    assert child.stderr
    assert any("submitted" in line for line in child.stderr), "a slow machine may print its progress before"


def submit_and_kill(folder: Path, server: FaultServer, **settings: float) -> None:
    """Start a run and kill it when its batch is at the provider, where the batch keeps running."""
    child = start(folder, server, **settings)
    wait_until_submitted(child)
    child.kill()
    child.communicate()


def orcac(*line: str) -> str:
    """Run a command line in this process. Returns its output, or raises its error."""
    result = CliRunner().invoke(cli, list(line), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def troubles(*calls: tuple[Call, int, Trouble]) -> Callable[[Call, int], Trouble]:
    """Return a behaviour of `Batches`: the n-th call (from 0) of a kind meets this trouble."""
    table = {(call, number): trouble for call, number, trouble in calls}
    return lambda call, before: table.get((call, before), "")


def spent_usd(folder: Path) -> float:
    return Budget(folder / "answers" / "budgets", 1.0).spent()


def assert_answered_once(folder: Path, made: Batches, count: int) -> None:
    """Assert that q0, q1, ... are answered in order, and that each was billed and recorded once."""
    assert [row.response for row in read_responses(folder)] == [f"answer to q{n}" for n in range(count)]
    assert made.billed == Counter({f"q{n}": 1 for n in range(count)})
    keys = [record["key"] for record in read_records(folder / "answers")]
    assert len(keys) == len(set(keys)) == count
