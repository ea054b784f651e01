"""Claims: which questions the live jobs of a store ask now, so that no two jobs pay for one answer.

Arms that ask for 1, 4 and 16 answers to each prompt, or two datasets that overlap, may be collected at the same moment.
A job claims its questions before it reads the ledger, and asks none that another live job claims: it waits until that
job has ended, and then finds the answers in the ledger.

    asking/JOB/lease.json    a live job; its heartbeat is that of a lease and works across hosts
    asking/JOB/keys.npy      the keys of its questions, S16 (keys,), sorted
    asking/lease.json        held for the moment in which a job compares its keys with those of all others

A job holds one claim at a time and waits only without one, so no two jobs wait for each other. The claim of a killed
job ends at once on its own host and after a minute on other hosts.

Batches have claims of their own (`batch.control`), which a job reads before it claims. A batch does not read these: it
asks again what another job asks online at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from orcac.chat.ledger.keys import Keys, isin
from orcac.store import lease

__all__ = ["Claims"]

_KEYS = "keys.npy"
_POLL_S = 0.5


class Claims:
    """This job's claim in `folder` (store/answers/asking). Use as a context manager, which gives the claim up."""

    def __init__(self, folder: Path, on_event: Callable[[str], None], *, poll_seconds: float = _POLL_S) -> None:
        self._folder, self._job = folder, folder / lease.new_job_name()
        self._on_event, self._poll_seconds = on_event, poll_seconds
        self._blockers: list[Path] = []
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def take(self, keys: Keys) -> bool:
        """Claim the questions with these sorted keys, and return True unless another live job claims one of them."""
        with lease.acquire(self._folder):
            overlaps = {job: int(isin(theirs, keys).sum()) for job, theirs in self._read_others()}
            self._blockers = [job for job, count in overlaps.items() if count]
            if self._blockers:
                return False
            self._job.mkdir()
            self._held.callback(shutil.rmtree, self._job, ignore_errors=True)
            np.save(self._job / _KEYS, keys)
            self._held.enter_context(lease.acquire(self._job))
        return True

    async def wait(self) -> None:
        """Wait until the jobs that kept `take` from its keys have ended."""
        self._on_event("waits for another job, which asks some of the same questions")
        while any(map(lease.is_leased, self._blockers)):
            await asyncio.sleep(self._poll_seconds)

    def _read_others(self) -> Iterator[tuple[Path, Keys]]:
        """Yield each live job with its keys, and remove the folders of those that have ended, however far they came."""
        for job in sorted(path for path in self._folder.iterdir() if path.is_dir()):
            if lease.is_leased(job):
                with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
                    yield job, np.load(job / _KEYS)
            else:
                shutil.rmtree(job, ignore_errors=True)
