"""Tests of orcac/scheduler.py."""

from __future__ import annotations

import threading
import time

import pytest
from patience import PATIENCE_S
from snakemake.scheduling.job_scheduler import JobScheduler

from orcac.scheduler import METHOD, keep_one_timer


class Scheduler:
    """A scheduler of which only the rounds matter: each permit of the semaphore starts one."""

    def __init__(self) -> None:
        self._open_jobs = threading.Semaphore(0)


def test_events_share_a_timer_and_the_next_round_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobScheduler, METHOD, getattr(JobScheduler, METHOD))  # Snakemake has it, and gets it back
    keep_one_timer()
    schedule_round = getattr(JobScheduler, METHOD)
    scheduler = Scheduler()
    for _ in range(3):  # rounds, each with a hundred events
        for _ in range(100):
            schedule_round(scheduler, 0.05)
        assert scheduler._open_jobs.acquire(timeout=PATIENCE_S)
        time.sleep(0.2)  # in which the other timers would have fired
        assert not scheduler._open_jobs.acquire(blocking=False)
