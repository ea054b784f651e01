"""One account, many jobs: who asks it now, and until when nobody may.

A provider limits an account, not a process. So each job that asks one (the shards of a dataset, another experiment,
other nodes of a cluster) shows itself under the account's folder, and takes its part of the declared rates:

    NAME/JOB/lease.json    a job that lives; its heartbeat is a lease's, and works across hosts
    NAME/pause-UNTIL       nobody asks before UNTIL, in seconds since 1970: a `Retry-After` that one job was told

No file is ever changed by two jobs, so nothing is locked. A job that is killed is no longer counted at once on its
own host and after a minute on others; a new one is seen within a second. Until then, and while the clocks of hosts
differ, the account is asked a little too fast or too slowly, which the server says and the limiter heeds.
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

LOOK_SECONDS = 1.0  # how old what a job knows of the others may be
_FORGET_SECONDS = 3600.0  # a job that was merely stopped for a while is counted again when it goes on
_PAUSE = "pause-"


def account_name(settings: EndpointSettings, model: str) -> str:
    """What jobs that share limits have in common, as a file name. Of the key it knows the variable's name alone."""
    azure = settings.azure
    named = os.environ.get("AZURE_OPENAI_ENDPOINT" if azure else "OPENAI_BASE_URL")
    address = settings.base_url or named or ("" if azure else OPENAI_URL)
    limited = (azure.deployment if azure else None) or model  # Azure's limits are a deployment's
    text = json.dumps([address.rstrip("/"), settings.api_key_env, limited])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Account:
    """This job's place on the account `name`, under `folder` (store/answers/accounts). Use as `async with`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._held = contextlib.ExitStack()
        self._looked = -math.inf  # monotonic seconds
        self._share = 1
        self._paused_until = 0.0

    def share(self) -> int:
        """How many live jobs share the account now, this one included."""
        self._look()
        return self._share

    def paused_until(self) -> float:
        """Nobody may ask before this moment, in seconds since 1970; it may be past."""
        self._look()
        return self._paused_until

    def pause(self, seconds: float) -> None:
        """Nobody asks this account for so long; a pause never shortens another."""
        until = time.time() + seconds
        if until > self._paused_until:
            self._paused_until = until
            with contextlib.suppress(OSError):  # the pause holds for this job at least
                (self._folder / f"{_PAUSE}{until:.3f}").touch()

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        with contextlib.suppress(OSError):  # what a disk does not tell now it tells next time
            entries = [path.name for path in self._folder.iterdir()]
            self._share = max(1, sum(self._lives(self._folder / name) for name in entries if not _is_pause(name)))
            for name in filter(_is_pause, entries):
                until = float(name.removeprefix(_PAUSE))
                self._paused_until = max(self._paused_until, until)
                if until < time.time():
                    (self._folder / name).unlink(missing_ok=True)

    def _lives(self, job: Path) -> bool:
        if lease.is_leased(job):
            return True
        with contextlib.suppress(OSError):
            if time.time() - (job / "lease.json").stat().st_mtime > _FORGET_SECONDS:
                shutil.rmtree(job, ignore_errors=True)
        return False

    async def __aenter__(self) -> Account:
        job = self._folder / lease.new_job_name()
        self._held.callback(shutil.rmtree, job, ignore_errors=True)
        self._held.enter_context(lease.acquire(job))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _is_pause(name: str) -> bool:
    try:
        return name.startswith(_PAUSE) and math.isfinite(float(name.removeprefix(_PAUSE)))
    except ValueError:
        return False
