"""Tests of orcac/chat/limits/budget.py: kills never let the bills exceed the cap, and unspent claims can be spent."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from patience import PATIENCE_S

from orcac.chat.limits.budget import Budget, to_micro_usd
from orcac.errors import StoreError

JOB = """
import os, random, socket, sys
from pathlib import Path
from orcac.chat.limits.budget import Budget

folder, host, cap, count, seed = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
if host:
    socket.gethostname = lambda: host
chance = random.Random(seed)
billed = os.open(folder / "billed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with Budget(folder / "budget", cap) as budget:
    in_flight = []
    while count or in_flight:
        bound = chance.randint(1, 2000)
        if count and len(in_flight) < 8 and budget.reserve(bound / 1e6):
            cost, count = chance.randint(0, bound), count - 1
            os.write(billed, b"%d\\n" % cost)  # the server answers at once, and bills
            in_flight.append((bound, cost))
        elif in_flight:
            bound, cost = in_flight.pop(chance.randrange(len(in_flight)))
            budget.settle(bound / 1e6, cost / 1e6)
        elif not budget.may_recover():
            break
print("ended", flush=True)
"""


def start(folder: Path, *, cap: float, count: int = 10**9, host: str = "", seed: int = 0) -> subprocess.Popen[bytes]:
    arguments = [str(folder), host, str(cap), str(count), str(seed)]
    return subprocess.Popen([sys.executable, "-c", JOB, *arguments], stdout=subprocess.DEVNULL)


def billed(folder: Path) -> int:
    """Return the micro-dollars that the server has billed."""
    path = folder / "billed"
    return sum(map(int, path.read_text().split())) if path.exists() else 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_many_jobs_spend_the_whole_cap_and_not_a_micro_dollar_more(tmp_path: Path) -> None:
    cap = 2.0
    jobs = [start(tmp_path, cap=cap, seed=n, host="elsewhere" if n % 2 else "") for n in range(6)]
    assert [job.wait(PATIENCE_S) for job in jobs] == [0] * 6
    assert cap * 1e6 - 2000 < billed(tmp_path) <= cap * 1e6
    with Budget(tmp_path / "budget", cap) as budget:
        assert to_micro_usd(budget.spent()) == billed(tmp_path), "ended jobs count to the micro-dollar"
        assert to_micro_usd(budget.left()) == cap * 1e6 - billed(tmp_path)
        assert not list((tmp_path / "budget" / "jobs").iterdir())


def test_a_kill_costs_at_most_the_requests_in_flight(tmp_path: Path) -> None:
    cap, kills, chance = 3.0, 12, random.Random(1)
    jobs = [start(tmp_path, cap=cap, seed=n) for n in range(3)]
    for kill in range(kills):
        before = billed(tmp_path)
        wait_until(lambda before=before: billed(tmp_path) > before + 50_000)
        victim = chance.randrange(3)
        jobs[victim].send_signal(signal.SIGKILL)
        jobs[victim].wait()
        jobs[victim] = start(tmp_path, cap=cap, seed=100 + kill)
    assert [job.wait(PATIENCE_S) for job in jobs] == [0] * 3
    assert cap * 1e6 - 2000 - kills * 8 * 2000 < billed(tmp_path) <= cap * 1e6
    with Budget(tmp_path / "budget", cap) as budget:
        assert billed(tmp_path) <= to_micro_usd(budget.spent()) <= billed(tmp_path) + kills * 8 * 2000


def test_the_claim_of_a_dead_job_of_another_host_counts_as_spent(tmp_path: Path) -> None:
    cap = 1.0
    away = start(tmp_path, cap=cap, host="elsewhere")
    wait_until(lambda: billed(tmp_path) > 200_000)
    away.kill()
    away.wait()
    with Budget(tmp_path / "budget", cap) as budget:
        assert budget.spent() < 0.5, "the job may still be alive"
        while budget.reserve(0.001):
            budget.settle(0.001, 0.001)
        assert budget.may_recover()
        for job in (tmp_path / "budget" / "jobs").glob("*/lease.json"):
            if json.loads(job.read_text())["host"].startswith("elsewhere"):
                os.utime(job, (time.time() - 61, time.time() - 61))
        assert not budget.may_recover() and not budget.reserve(0.001)
        rest = to_micro_usd(budget.spent())
        assert cap * 1e6 - 1000 < rest <= cap * 1e6
    assert start(tmp_path, cap=cap, host="elsewhere").wait(PATIENCE_S) == 0, "a job of that host reclaims it"
    with Budget(tmp_path / "budget", cap) as budget:
        assert to_micro_usd(budget.spent()) <= cap * 1e6
        assert len(json.loads(max((tmp_path / "budget" / "log").glob("*.json")).read_text())["jobs"]) == 0


def test_a_higher_cap_goes_on_and_a_damaged_record_is_reported(tmp_path: Path) -> None:
    for cap, fits in ((0.1, 2), (0.1, 0), (0.21, 2), (0.05, 0)):
        with Budget(tmp_path, cap) as budget:
            got = 0
            while budget.reserve(0.05):
                budget.settle(0.05, 0.05)
                got += 1
            assert (got, budget.may_recover()) == (fits, False)
    last = max((tmp_path / "log").glob("*.json"))
    last.write_text("{")
    with pytest.raises(StoreError, match=last.name), Budget(tmp_path, 1.0) as budget:
        budget.reserve(0.1)


def test_a_charge_above_the_bound_counts(tmp_path: Path) -> None:
    with Budget(tmp_path, 1.0) as budget:
        assert budget.reserve(0.01)
        budget.settle(0.01, 1.5)
        assert budget.spent() == 1.5 and not budget.reserve(0.001)
    with Budget(tmp_path, 1.0) as budget:
        assert budget.spent() == 1.5 and not budget.reserve(0.001)


def test_a_request_that_costs_nothing_fits_into_a_spent_budget(tmp_path: Path) -> None:
    with Budget(tmp_path, 0.1) as budget:
        assert budget.reserve(0.0) and budget.reserve(0.1) and budget.reserve(0.0) and not budget.reserve(1e-6)
        for bound in (0.0, 0.0, 0.1):
            budget.settle(bound, bound)
        assert budget.spent() == 0.1


def test_amounts_are_rounded_up_except_for_the_rounding_error_of_a_float() -> None:
    assert [to_micro_usd(usd) for usd in (0.0, 1e-9, 1e-6, 0.1 + 0.2, 29e-6, 29.1e-6)] == [0, 1, 1, 300_000, 29, 30]


class TwoJobs(RuleBasedStateMachine):
    """Two jobs of one host in any order of actions: bills and bounds in flight stay under the cap."""

    CAP = 10_000

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.jobs = [self.open(), self.open()]
        self.in_flight: list[list[int]] = [[], []]
        self.billed = 0

    def open(self) -> Budget:
        return Budget(Path(self.folder.name), self.CAP / 1e6, refresh_s=0.0)

    @rule(job=st.integers(0, 1), bound=st.integers(1, 4_000))
    def send(self, job: int, bound: int) -> None:
        alone = not self.in_flight[0] and not self.in_flight[1]
        if self.jobs[job].reserve(bound / 1e6):
            self.in_flight[job].append(bound)
        elif alone:
            waits = self.jobs[job].may_recover()
            self.jobs[1 - job].may_recover()  # the other job gives back its claim as well
            assert waits or self.billed + bound > self.CAP
            assert self.jobs[job].reserve(bound / 1e6) == (self.billed + bound <= self.CAP)
            if self.billed + bound <= self.CAP:
                self.in_flight[job].append(bound)

    @precondition(lambda self: self.in_flight[0] or self.in_flight[1])
    @rule(job=st.integers(0, 1), share=st.floats(0, 1))
    def answer(self, job: int, share: float) -> None:
        if self.in_flight[job]:
            bound = self.in_flight[job].pop()
            self.billed += int(bound * share)
            self.jobs[job].settle(bound / 1e6, int(bound * share) / 1e6)

    @rule(job=st.integers(0, 1))
    def end(self, job: int) -> None:
        with self.jobs[job]:
            self.billed += sum(self.in_flight[job])  # they may have been answered
        self.jobs[job], self.in_flight[job] = self.open(), []

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "jobs"):
            assert self.billed + sum(map(sum, self.in_flight)) <= self.CAP
            assert [to_micro_usd(job.spent()) for job in self.jobs] == [self.billed] * 2

    def teardown(self) -> None:
        for job in getattr(self, "jobs", ()):
            with job:
                pass
        self.folder.cleanup()


TestTwoJobs = TwoJobs.TestCase
TestTwoJobs.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def test_a_named_claim_outlives_its_job_and_counts_once(tmp_path: Path) -> None:
    for _ in range(2):  # as a job does that was killed after the first time
        assert Budget(tmp_path, 1.0).claim("batch-a", 0.6)
    with Budget(tmp_path, 1.0) as other:
        assert (other.spent(), other.left()) == (0.6, 0.4)
        assert not other.claim("batch-b", 0.400001) and not other.reserve(0.5)
        assert other.reserve(0.1)
        other.settle(0.1, 0.1)
    for _ in range(2):
        Budget(tmp_path, 1.0).release("batch-a", 0.25)
    last = Budget(tmp_path, 1.0)
    assert (last.spent(), last.left()) == (0.35, 0.65)
