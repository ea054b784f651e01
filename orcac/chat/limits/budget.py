"""A spending cap that many jobs share: processes, hosts, kills; never exceeded, and few words on the disk.

A job claims slices of the cap and spends from what it claimed, so most requests ask nobody. All amounts are whole
micro-dollars; what a request may cost is rounded up.

    log/00000042.json   who has claimed how much, after the 42nd change; the highest number is how things stand
    jobs/JOB/lease.json a job that lives (see lease.py)
    jobs/JOB/used       what it has spent, and what is in flight at most: two int64, replaced by one write

A change is a new file with the next number, and is made by `link`, which gives each number to one job alone on any
file system. Who comes second reads what the first did and tries again. So there is no lock that a kill could leave,
and none that a slow job could believe to hold; a claim is synced before it is spent. The log is not pruned: a slice
is a hundredth of what is left, so filling a budget takes some hundreds of small files, and they say who spent what.

`used` is written before a request is sent, without a sync: it outlives the process, not the host. So what a killed
job left is taken back by the next job on its host (since this boot), where the process is surely gone: what was in
flight counts at the most it could cost, the rest is free again. What a job leaves behind that died on another host,
or with it, counts as spent: it may only be paused, and go on.

What goes on after its job has ended, a batch at its provider, is a claim under a name of its own (`hold`): whoever
takes in what it brought ends it (`release`), and until then it counts in full.

Who is refused gives back what it holds, and waits as long as another live job may still give something back.
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
from orcac.store.durable import sync_folder

_SLICES = 100  # a slice is this part of what is left, or what one request needs
_LOOK_SECONDS = 1.0  # how old a job's idea of what the others left may be
_USED = struct.Struct("<qq")


class _Used(NamedTuple):
    spent: int = 0  # micro-dollars
    reserved: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What one job may spend in all, and had spent when it last said so. `host` is where its `used` can be trusted."""

    claimed: int
    spent: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One file of the log: what ended jobs spent, and what the others claimed."""

    spent: int = 0
    jobs: dict[str, _Claim] = dataclasses.field(default_factory=dict)

    @property
    def committed(self) -> int:
        return self.spent + sum(job.claimed for job in self.jobs.values())


class Budget:
    """A cap of `usd` dollars on what all jobs spend that use `folder`. Use as `with`; of one thread at a time.

    The cap is the opener's: one that opens the folder with a higher cap may go on where others had to stop. Every
    method raises StoreError where the folder cannot be read or written.
    """

    def __init__(self, folder: Path, usd: float) -> None:
        self._log, self._jobs, self._job = folder / "log", folder / "jobs", lease.new_job_name()
        self.usd = usd
        self._cap = int((Decimal(repr(usd)) * 1_000_000).to_integral_value(ROUND_FLOOR))
        self._number, self._state = 0, _State()
        self._looked = -math.inf  # monotonic seconds
        self._claimed = self._spent = self._reserved = 0  # by this job
        self._largest = self._refused = 0  # of what was asked for so far; what did not fit
        self._file = -1
        self._held = contextlib.ExitStack()

    def reserve(self, bound_usd: float) -> bool:
        """Set aside the most that a request can cost, before it is sent; False where it does not fit now."""
        bound = micro(bound_usd)
        if self._file < 0:
            self._open()
        self._largest = max(self._largest, bound)
        missing = bound - self._free
        if missing > 0 and not self._claim(missing):
            self._refused = bound
            return False
        self._reserved += bound
        self._note()
        return True

    def settle(self, bound_usd: float, spent_usd: float) -> None:
        """A request for which `bound_usd` was reserved is over and has cost `spent_usd`."""
        self._reserved -= micro(bound_usd)
        self._spent += micro(spent_usd)
        assert self._reserved >= 0
        self._note()
        if self._free < 0:  # the server charged more than a request can cost: that is said, too
            self._change(lambda state: self._claiming(state, self._spent + self._reserved))
        elif self._free > max(self._reserved, 2 * self._largest):
            self._look()
            slice_ = max(self._largest, self._unclaimed(self._state) // _SLICES)
            if self._free > max(self._reserved, 2 * slice_):  # others may need it
                self._change(lambda state: self._claiming(state, self._spent + self._reserved + slice_))

    def hold(self, name: str, bound_usd: float) -> bool:
        """Set aside, under `name`, the most that something can cost which outlives this job; whether it is set aside.

        It stays so until `release`. Doing either again, in any job, changes nothing.
        """
        bound = micro(bound_usd)

        def holding(state: _State) -> _State:
            if name not in state.jobs and self._unclaimed(state) < bound:
                state = self._without_dead(state)
            if name in state.jobs or self._unclaimed(state) < bound:
                return state
            return dataclasses.replace(state, jobs=state.jobs | {name: _Claim(claimed=bound, spent=0, host="")})

        self._change(holding)
        return name in self._state.jobs

    def release(self, name: str, spent_usd: float) -> None:
        """What is held under `name` is over and has cost `spent_usd`."""
        spent = micro(spent_usd)
        self._change(lambda state: self._ended(state, name, spent) if name in state.jobs else state)

    def may_recover(self) -> bool:
        """Whether what was refused may fit later: another job may still give something back.

        Call it with nothing in flight. What this job holds and did not spend is given back, so that of two that
        wait for each other one goes on.
        """
        assert not self._reserved
        if self._free > 0:
            self._change(lambda state: self._claiming(state, self._spent))
        with self._disk():
            self._head()
            return self._unclaimed(self._state) >= self._refused or any(
                self._may_give(name, claim) for name, claim in self._state.jobs.items() if name != self._job
            )

    def left(self) -> float:
        """USD that no job has claimed, or that a dead one left, and what this one has claimed and not set aside."""
        with self._disk():
            self._head()
            return (self._unclaimed(self._without_dead(self._state)) + self._free) / 1e6

    def spent(self) -> float:
        """USD that all jobs have spent; of what is held, and of a job that died on another host, all of it."""
        with self._disk():
            self._head()
            total = self._state.spent
            for name, claim in self._state.jobs.items():
                if name == self._job:
                    total += self._spent
                elif lease.is_leased(self._jobs / name):
                    total += max(claim.spent, (self._used(name) or _Used()).spent)
                elif self._is_gone(name, claim) and (used := self._used(name)):
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
            # what is still reserved was perhaps sent
            self._change(lambda state: self._ended(state, self._job, self._spent + self._reserved))
            shutil.rmtree(self._jobs / self._job, ignore_errors=True)
        finally:
            os.close(self._file)
            self._file = -1
            self._held.close()

    # --- this job's part ---------------------------------------------------------------------------------------------

    @property
    def _free(self) -> int:
        return self._claimed - self._spent - self._reserved

    def _claim(self, missing: int) -> bool:
        """Claim a slice that holds at least `missing`. Returns whether there was one."""

        def claiming(state: _State) -> _State:
            left = self._unclaimed(state)
            if left < missing or self._job not in state.jobs:
                state = self._without_dead(state)
                left = self._unclaimed(state)
            amount = max(missing, left // _SLICES)
            return self._claiming(state, self._claimed + amount) if missing <= left else state

        before = self._claimed
        self._change(claiming)
        return self._claimed > before

    def _claiming(self, state: _State, claimed: int) -> _State:
        mine = _Claim(claimed=claimed, spent=self._spent, host=lease.boot_id())
        return dataclasses.replace(state, jobs=state.jobs | {self._job: mine})

    def _open(self) -> None:
        folder = self._jobs / self._job
        with self._disk():
            self._held.enter_context(lease.acquire(folder))
            self._file = os.open(folder / "used", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._note()

    def _note(self) -> None:
        try:
            os.pwrite(self._file, _USED.pack(self._spent, self._reserved), 0)
        except OSError as error:
            raise self._unkept(error) from error

    # --- all jobs' ---------------------------------------------------------------------------------------------------

    def _unclaimed(self, state: _State) -> int:
        return max(0, self._cap - state.committed)

    def _without_dead(self, state: _State) -> _State:
        """The jobs that surely ended, as what they used."""
        for name, claim in state.jobs.items():
            if self._is_gone(name, claim) and (used := self._used(name)):
                state = self._ended(state, name, sum(used))
        return state

    def _is_gone(self, name: str, claim: _Claim) -> bool:
        """Whether another job of this host, since it was started, is surely dead."""
        here = lease.boot_id()
        return bool(here) and claim.host == here and name != self._job and not lease.is_leased(self._jobs / name)

    def _may_give(self, name: str, claim: _Claim) -> bool:
        used = self._used(name)
        if lease.is_leased(self._jobs / name):
            return claim.claimed > max(claim.spent, (used or _Used()).spent)
        return self._is_gone(name, claim) and used is not None  # killed just now: the next claim takes it back

    def _ended(self, state: _State, name: str, spent: int) -> _State:
        jobs = {other: claim for other, claim in state.jobs.items() if other != name}
        return dataclasses.replace(state, spent=state.spent + spent, jobs=jobs)

    def _used(self, name: str) -> _Used | None:
        """None where it is gone: another job has just taken it back, and what is changed now will come too late."""
        try:
            return _Used(*_USED.unpack((self._jobs / name / "used").read_bytes()))
        except (FileNotFoundError, struct.error):
            return None

    def _look(self) -> None:
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            with self._disk():
                self._head()

    def _head(self) -> None:
        """Read the newest state."""
        before = self._number
        if not self._number:
            self._log.mkdir(parents=True, exist_ok=True)
            names = (path.stem for path in self._log.glob("*.json"))
            self._number = max((int(name) for name in names if name.isdecimal()), default=0)
        while self._at(self._number + 1).exists():
            self._number += 1
        if self._number != before:
            self._state = _parsed(self._at(self._number))
        self._looked = time.monotonic()

    def _at(self, number: int) -> Path:
        return self._log / f"{number:08}.json"

    def _change(self, change: Callable[[_State], _State]) -> None:
        """Put `change` of the newest state into the log, durably; nothing where it changes nothing."""
        with self._disk():
            while True:
                self._head()
                changed = change(self._state)
                if changed == self._state or self._add(changed):
                    break
            gone = self._state.jobs.keys() - changed.jobs.keys()
            self._state = changed
            self._claimed = changed.jobs[self._job].claimed if self._job in changed.jobs else 0
            for name in gone:
                shutil.rmtree(self._jobs / name, ignore_errors=True)

    def _add(self, state: _State) -> bool:
        """Make `state` the newest, unless another has come first."""
        text = json.dumps(dataclasses.asdict(state), separators=(",", ":")).encode()
        aside = self._log / f"{uuid.uuid4().hex}.new"
        with aside.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self._at(self._number + 1))
            linked = aside.stat().st_nlink == 2  # what counts where the network lost the answer to `link`
        finally:
            aside.unlink()
        if linked:
            self._number += 1
            sync_folder(self._log)
        else:
            time.sleep(0.001)  # another host may see the other's file a little later
        return linked

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unkept(error) from error

    def _unkept(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._log.parent}: the budget cannot be kept ({error.strerror or error})",
            fix="free or mount the disk and run again; every answer is kept",
        )


def micro(usd: float) -> int:
    """`usd` dollars as micro-dollars, rounded up (but not for the noise of a float)."""
    return math.ceil(usd * 1e6 * (1 - 1e-12))


def _parsed(path: Path) -> _State:
    try:
        record = json.loads(path.read_bytes())
        jobs = {Path(name).name: _Claim(**claim) for name, claim in record["jobs"].items()}
        return _State(spent=int(record["spent"]), jobs=jobs)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: not a record of a budget",
            fix="restore it; or move the budget's folder away, which begins to count anew",
        ) from error
