"""A spending cap that is never exceeded by the jobs that share it, processes on several hosts that may be killed.

A job claims slices of the cap and spends from its claim, so most requests touch no shared file. All amounts are whole
micro-dollars; the highest cost of a request is rounded up.

    log/00000042.json   all claims after the 42nd change; the file with the highest number is the current state
    jobs/JOB/lease.json a live job (see lease.py)
    jobs/JOB/used       that job's spending and the highest cost of its requests in flight: two int64, one write

A change is a new file with the next number. It is made by `link`, which on any file system gives each number to one job
only; a job that comes second reads the change of the first and tries again. So there is no lock that a killed job could
leave behind, or that a slow job could lose unawares. A claim is synced before it is spent. The log is not pruned: a
slice is a hundredth of the remaining budget, so spending all of it takes some hundreds of small files, and they record
the spending of each job.

`used` is written before a request is sent, without a sync, so it survives a kill of the process but not of the host.
The next job on the same host (since its boot) can be sure that a killed job has ended, and takes back its claim: the
requests in flight count at their highest cost, the rest is free again. The claim of a job that died on another host, or
together with its host, counts as spent, since that job may be merely paused, and go on later.

Work that continues after its job has ended, such as a batch at its provider, has a claim under a name of its own
(`claim`). It counts in full until the job that takes in the results ends it (`release`).

A job whose request does not fit gives back its unspent claim, and waits as long as another live job may give some back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shutil
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from orcac.errors import StoreError
from orcac.store import lease
from orcac.store.checksum import add_checksum, parse_checked
from orcac.store.durable import retry_stale, sync_folder
from orcac.store.locks import boot_id

_SLICES = 100  # a slice is this part of the remaining budget, or the cost of one request if that is more
FIELDS = frozenset({"spent", "jobs"})  # of a file of the log, beside its checksum
_USED = struct.Struct("<qq")


class _Used(NamedTuple):
    """The content of a job's `used` file."""

    spent: int = 0  # micro-dollars
    reserved: int = 0  # micro-dollars: the highest cost of the requests in flight


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A job's claim in micro-dollars, and its spending at its last change. Its `used` file is valid on `host` only."""

    claimed: int
    spent: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One file of the log: the total spending of ended jobs, and the claims of the others."""

    spent: int = 0
    jobs: dict[str, _Claim] = dataclasses.field(default_factory=dict)

    @property
    def committed(self) -> int:
        return self.spent + sum(job.claimed for job in self.jobs.values())


class Budget:
    """A cap of `usd` dollars on the spending of all jobs that use `folder`. Use as `with`, from one thread at a time.

    The cap is a parameter of each job, not of the folder: a job with a higher cap goes on where others had to stop.
    Every method raises StoreError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path, usd: float, *, refresh_s: float = 1.0) -> None:
        """While the job's claim is large, it reads the other jobs' claims again at most every `refresh_s` seconds."""
        self._log, self._jobs, self._job = folder / "log", folder / "jobs", lease.new_job_name()
        self.usd = usd
        self._cap = int((Decimal(repr(usd)) * 1_000_000).to_integral_value(ROUND_FLOOR))
        self._number, self._state = 0, _State()  # the newest file of the log that was read, and its content
        self._refresh_s = refresh_s
        self._refreshed_at = -math.inf  # monotonic seconds
        self._claimed = self._spent = self._reserved = 0  # by this job
        self._largest = self._refused = 0  # of the amounts passed to `reserve`: the largest, and the last refused one
        self._file = -1
        self._cleanup = contextlib.ExitStack()

    def reserve(self, bound_usd: float) -> bool:
        """Reserve the highest cost of a request before it is sent. Returns False if it does not fit now."""
        bound = to_micro_usd(bound_usd)
        if self._file < 0:
            self._open()
        self._largest = max(self._largest, bound)
        missing = bound - self._free
        if missing > 0 and not self._claim_slice(missing):
            self._refused = bound
            return False
        self._reserved += bound
        self._write_used()
        return True

    def settle(self, bound_usd: float, spent_usd: float) -> None:
        """End the reservation of `bound_usd` for a request that has cost `spent_usd`."""
        self._reserved -= to_micro_usd(bound_usd)
        self._spent += to_micro_usd(spent_usd)
        assert self._reserved >= 0
        self._write_used()
        if self._free < 0:  # the server charged more than the request could cost; that counts as well
            self._change(lambda state: self._with_claim(state, self._spent + self._reserved))
        elif self._free > max(self._reserved, 2 * self._largest):
            self._refresh()
            slice_ = max(self._largest, self._unclaimed(self._state) // _SLICES)
            if self._free > max(self._reserved, 2 * slice_):  # other jobs may need it
                self._change(lambda state: self._with_claim(state, self._spent + self._reserved + slice_))

    def claim(self, name: str, bound_usd: float) -> bool:
        """Claim, under `name`, the highest cost of work that outlives this job. Returns False if it does not fit.

        The claim holds until `release`. A repeated `claim` or `release` of the same name, in any job, changes nothing.
        """
        bound = to_micro_usd(bound_usd)

        def add_claim(state: _State) -> _State:
            if name not in state.jobs and self._unclaimed(state) < bound:
                state = self._reclaim_dead(state)
            if name in state.jobs or self._unclaimed(state) < bound:
                return state
            return dataclasses.replace(state, jobs=state.jobs | {name: _Claim(claimed=bound, spent=0, host="")})

        self._change(add_claim)
        return name in self._state.jobs

    def release(self, name: str, spent_usd: float) -> None:
        """End the claim under `name`, whose work has cost `spent_usd`."""
        spent = to_micro_usd(spent_usd)
        self._change(lambda state: _end_claim(state, name, spent) if name in state.jobs else state)

    def may_recover(self) -> bool:
        """Return True if the refused amount may fit later, because another job may still give some back.

        Call it with nothing in flight. It gives back this job's unspent claim, so that of two jobs that wait for each
        other one goes on.
        """
        assert not self._reserved
        if self._free > 0:
            self._change(lambda state: self._with_claim(state, self._spent))
        with self._store_errors():
            self._read_newest()
            return self._unclaimed(self._state) >= self._refused or any(
                self._may_give_back(name, claim) for name, claim in self._state.jobs.items() if name != self._job
            )

    def left(self) -> float:
        """Return the USD that this job can still reserve: unclaimed, left by dead jobs, or claimed here and free."""
        with self._store_errors():
            self._read_newest()
            return (self._unclaimed(self._reclaim_dead(self._state)) + self._free) / 1e6

    def spent(self) -> float:
        """Return the USD that all jobs have spent; named claims and those of jobs that died elsewhere count in full."""
        with self._store_errors():
            self._read_newest()
            total = self._state.spent
            for name, claim in self._state.jobs.items():
                if name == self._job:
                    total += self._spent
                elif lease.is_leased(self._jobs / name):
                    total += max(claim.spent, (self._read_used(name) or _Used()).spent)
                elif self._is_dead(name, claim) and (used := self._read_used(name)):
                    total += sum(used)
                else:
                    total += claim.claimed
        return total / 1e6

    def __enter__(self) -> Budget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file < 0:
            return
        try:
            # the requests behind a reservation that was not settled may have been sent
            self._change(lambda state: _end_claim(state, self._job, self._spent + self._reserved))
            shutil.rmtree(self._jobs / self._job, ignore_errors=True)
        finally:
            os.close(self._file)
            self._file = -1
            self._cleanup.close()

    # --- this job's claim --------------------------------------------------------------------------------------------

    @property
    def _free(self) -> int:
        """The micro-dollars that this job has claimed, and neither spent nor reserved."""
        return self._claimed - self._spent - self._reserved

    def _claim_slice(self, missing: int) -> bool:
        """Enlarge this job's claim by a slice of at least `missing`. Returns False if so much is not left."""

        def add_slice(state: _State) -> _State:
            left = self._unclaimed(state)
            if left < missing or self._job not in state.jobs:
                state = self._reclaim_dead(state)
                left = self._unclaimed(state)
            amount = max(missing, left // _SLICES)
            return self._with_claim(state, self._claimed + amount) if missing <= left else state

        before = self._claimed
        self._change(add_slice)
        return self._claimed > before

    def _with_claim(self, state: _State, claimed: int) -> _State:
        """Return `state` with `claimed` as this job's claim."""
        mine = _Claim(claimed=claimed, spent=self._spent, host=boot_id())
        return dataclasses.replace(state, jobs=state.jobs | {self._job: mine})

    def _open(self) -> None:
        folder = self._jobs / self._job
        with self._store_errors():
            self._cleanup.enter_context(lease.acquire(folder))
            self._file = os.open(folder / "used", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._write_used()

    def _write_used(self) -> None:
        try:
            os.pwrite(self._file, _USED.pack(self._spent, self._reserved), 0)
        except OSError as error:
            raise self._store_error(error) from error

    # --- the state of all jobs ---------------------------------------------------------------------------------------

    def _unclaimed(self, state: _State) -> int:
        return max(0, self._cap - state.committed)

    def _reclaim_dead(self, state: _State) -> _State:
        """Return `state` with the claim of each job that has surely ended replaced by its use."""
        for name, claim in state.jobs.items():
            if self._is_dead(name, claim) and (used := self._read_used(name)):
                state = _end_claim(state, name, sum(used))
        return state

    def _is_dead(self, name: str, claim: _Claim) -> bool:
        """Return True if `name` is another job, started on this host since its boot, whose process has surely ended."""
        here = boot_id()
        return bool(here) and claim.host == here and name != self._job and not lease.is_leased(self._jobs / name)

    def _may_give_back(self, name: str, claim: _Claim) -> bool:
        used = self._read_used(name)
        if lease.is_leased(self._jobs / name):
            return claim.claimed > max(claim.spent, (used or _Used()).spent)
        return self._is_dead(name, claim) and used is not None  # it was just killed: the next claim reclaims it

    def _read_used(self, name: str) -> _Used | None:
        """Return the content of a job's `used` file, or None if the file is gone.

        If it is gone, another job has just ended that claim in a newer state. So a change that is based on the present
        state will not be appended, and whatever is made of None here does not last.
        """
        try:
            return _Used(*_USED.unpack(retry_stale((self._jobs / name / "used").read_bytes)))
        except (FileNotFoundError, struct.error):
            return None

    def _refresh(self) -> None:
        if time.monotonic() - self._refreshed_at > self._refresh_s:
            with self._store_errors():
                self._read_newest()

    def _read_newest(self) -> None:
        """Read the newest state of the log."""
        before = self._number
        if not self._number:
            self._log.mkdir(parents=True, exist_ok=True)
            names = (path.stem for path in self._log.glob("*.json"))
            self._number = max((int(name) for name in names if name.isdecimal()), default=0)
        while self._path(self._number + 1).exists():
            self._number += 1
        if self._number != before:
            self._state = _parse_state(self._path(self._number))
        self._refreshed_at = time.monotonic()

    def _path(self, number: int) -> Path:
        return self._log / f"{number:08}.json"

    def _change(self, change: Callable[[_State], _State]) -> None:
        """Apply `change` to the newest state and append the result to the log, durably, if it differs."""
        with self._store_errors():
            while True:
                self._read_newest()
                changed = change(self._state)
                if changed == self._state or self._append(changed):
                    break
            ended = self._state.jobs.keys() - changed.jobs.keys()
            self._state = changed
            self._claimed = changed.jobs[self._job].claimed if self._job in changed.jobs else 0
            for name in ended:
                shutil.rmtree(self._jobs / name, ignore_errors=True)

    def _append(self, state: _State) -> bool:
        """Append `state` to the log. Returns False if another job has appended a state first."""
        text = add_checksum(json.dumps(dataclasses.asdict(state), separators=(",", ":")).encode())
        aside = self._log / f"{uuid.uuid4().hex}.new"
        with aside.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self._path(self._number + 1))
            # the number of links decides, because a network file system can lose the reply to `link`
            linked = aside.stat().st_nlink == 2
        finally:
            aside.unlink()
        if linked:
            self._number += 1
            sync_folder(self._log)
        else:
            time.sleep(0.001)  # a file made on another host may become visible a little later
        return linked

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Raise an OSError of the block as a StoreError."""
        try:
            yield
        except OSError as error:
            raise self._store_error(error) from error

    def _store_error(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._log.parent}: cannot read or write the record of the budget ({error.strerror or error})",
            fix="free or mount the disk and run again; every answer is kept",
        )


def to_micro_usd(usd: float) -> int:
    """Convert dollars to micro-dollars, rounded up except for the rounding error of a float."""
    return math.ceil(usd * 1e6 * (1 - 1e-12))


def _end_claim(state: _State, name: str, spent: int) -> _State:
    """Return `state` with the claim under `name` replaced by its spending."""
    jobs = {other: claim for other, claim in state.jobs.items() if other != name}
    return dataclasses.replace(state, spent=state.spent + spent, jobs=jobs)


def _parse_state(path: Path) -> _State:
    try:
        record = parse_checked(path.read_bytes(), FIELDS)
        jobs = {Path(name).name: _Claim(**claim) for name, claim in record["jobs"].items()}
        return _State(spent=int(record["spent"]), jobs=jobs)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: not a record of a budget",
            fix="restore it; or move the budget's folder away, which starts a new count from zero",
        ) from error
