"""Keeps Snakemake's scheduler from waking ever more often.

A round of Snakemake's scheduler ends with a timer of one second that starts another round, whatever started this one.
So each finished job leaves one more chain of timers behind, and after n jobs there are n rounds a second while jobs
wait for a free core. Each of them selects among all ready jobs: with 670 nodes, 60 of them done, the scheduler of a
local run took 40 % of a core.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["keep_one_timer"]

METHOD = "_schedule_reevalutation"  # Snakemake's own spelling


class _Scheduler(Protocol):
    """The part of Snakemake's scheduler that a timer needs."""

    _open_jobs: threading.Semaphore
    _has_timer: bool


def keep_one_timer() -> None:
    """Give Snakemake's scheduler one pending timer at most. A version without this method is left as it is."""
    try:
        from snakemake.scheduling.job_scheduler import JobScheduler
    except ImportError:  # of another version: the module is not part of Snakemake's API
        return
    if hasattr(JobScheduler, METHOD):
        setattr(JobScheduler, METHOD, _schedule_round)


def _schedule_round(scheduler: _Scheduler, delay: float) -> None:
    """Start a round of the scheduler after `delay` seconds, unless one is due already."""
    if getattr(scheduler, "_has_timer", False):
        return

    def start() -> None:
        scheduler._has_timer = False
        scheduler._open_jobs.release()

    scheduler._has_timer = True
    timer = threading.Timer(delay, start)
    timer.daemon = True
    timer.start()
