"""An account that many jobs ask: the number of live jobs, and the pauses that hold for all of them.

A provider limits an account, not a process. Each job that asks an account (a shard of a dataset, another experiment,
another node of the cluster) therefore registers itself in the account's folder and takes its part of the declared
rates:

    NAME/JOB/lease.json    a live job; its heartbeat is that of a lease and works across hosts
    NAME/pause-UNTIL       no job asks before UNTIL, in seconds since 1970: a `Retry-After` that one job received

No file is ever changed by two jobs, so no lock is needed. A killed job stops counting at once on its own host and
after a minute on other hosts; a new job is noticed within a second. Until then the account is asked slightly too fast
or too slowly. The server then pushes back, and the limiter adapts to it. UNTIL is in the time of the file system, since
the clocks of hosts differ.

Any clock may jump. So a job compares a pause with the clock once, and counts the rest with one that never jumps; an
UNTIL that is more than an hour away is that of a wrong clock, and ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from pathlib import Path
from types import TracebackType

from orcac.chat.settings import OPENAI_URL, EndpointSettings
from orcac.store import lease
from orcac.store.locks import file_system_time

REFRESH_S = 1.0  # the age at which the view of the account's folder is read again
_FORGET_S = 3600.0  # a silent job's folder is removed after this time; until then, a stopped job can go on and count
_PAUSE = "pause-"
_LONGEST_PAUSE_S = 3600.0  # jobs share shorter ones alone (`health.Timing.push_back_patience`)


def account_name(settings: EndpointSettings, model: str) -> str:
    """Return a file name that jobs have in common if and only if they share rate limits.

    It depends on the address, the model and the names of the variables that hold the API key and further headers, never
    on their values.
    """
    azure = settings.azure
    default_url = os.environ.get("AZURE_OPENAI_ENDPOINT" if azure else "OPENAI_BASE_URL")
    address = settings.base_url or default_url or ("" if azure else OPENAI_URL)
    limited = (azure.deployment if azure else None) or model  # Azure limits a deployment, others a model
    parts: list[object] = [address.rstrip("/"), settings.api_key_env, limited]
    text = json.dumps([*parts, settings.headers] if settings.headers else parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Account:
    """This job's registration with the account `name` in `folder` (store/answers/accounts). Use as `async with`."""

    def __init__(self, folder: Path, name: str, *, refresh_s: float = REFRESH_S) -> None:
        self._folder = folder / name
        self._job = self._folder / lease.new_job_name()
        self._refresh_s = refresh_s
        self._cleanup = contextlib.ExitStack()
        self._refreshed_at = -math.inf  # monotonic seconds
        self._live_jobs = 1
        self._resumes_at = -math.inf  # monotonic seconds
        self._seen: set[str] = set()  # names of pauses

    def live_jobs(self) -> int:
        """Return the number of live jobs that ask the account now, including this one."""
        self._refresh()
        return self._live_jobs

    def paused_until(self) -> float:
        """Return the moment before which no job may ask, in seconds since 1970 on this host; it may be in the past."""
        self._refresh()
        return time.time() + self._resumes_at - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Pause the account for all jobs from now on; a longer pause that is in force stays."""
        resumes_at = time.monotonic() + seconds
        if resumes_at > self._resumes_at:
            self._resumes_at = resumes_at
            with contextlib.suppress(OSError):  # this job pauses in any case
                now = file_system_time(self._job / "lease.lock")
                name = f"{_PAUSE}{now + seconds:.3f}"
                self._seen.add(name)
                (self._folder / name).touch()

    def _refresh(self) -> None:
        if time.monotonic() - self._refreshed_at < self._refresh_s:
            return
        self._refreshed_at = time.monotonic()
        with contextlib.suppress(OSError):  # a disk that fails now may work at the next refresh
            entries = [path.name for path in self._folder.iterdir()]
            jobs = [self._folder / name for name in entries if not _is_pause(name)]
            self._live_jobs = max(1, sum(self._is_alive(job) for job in jobs))
            pauses = [*filter(_is_pause, entries)]
            now = file_system_time(self._job / "lease.lock") if pauses else 0.0
            for name in pauses:
                left = float(name.removeprefix(_PAUSE)) - now
                if left <= _LONGEST_PAUSE_S and name not in self._seen:
                    self._seen.add(name)
                    self._resumes_at = max(self._resumes_at, time.monotonic() + left)
                if not 0 < left <= _LONGEST_PAUSE_S:
                    (self._folder / name).unlink(missing_ok=True)

    def _is_alive(self, job: Path) -> bool:
        if lease.is_leased(job):
            return True
        with contextlib.suppress(OSError):
            if file_system_time(job / "lease.lock") - (job / "lease.json").stat().st_mtime > _FORGET_S:
                shutil.rmtree(job, ignore_errors=True)
        return False

    async def __aenter__(self) -> Account:
        self._cleanup.callback(shutil.rmtree, self._job, ignore_errors=True)
        self._cleanup.enter_context(lease.acquire(self._job))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()


def _is_pause(name: str) -> bool:
    try:
        return name.startswith(_PAUSE) and math.isfinite(float(name.removeprefix(_PAUSE)))
    except ValueError:
        return False
