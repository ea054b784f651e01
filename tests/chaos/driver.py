"""One round: a study is run under random failures until its report is made, and compared with an undisturbed run.

The failures and their times are drawn from a seed. What they hit depends on the moment, so the same seed repeats the
same failures, and not the same interleaving. Between two runs of `orcac run` all processes are killed and bits of the
store at rest are flipped; `orcac verify` must name each damaged file. The failures end after a number of them, and the
next run must end well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import flips
from .processes import ASKERS, find_processes
from .slurm import Daemons
from .study import CONCURRENCY, END_S, ROOT, Study, Teachers

_FLIPS = 6  # files damaged at a time
_STAGES = {path.stem for path in (ROOT / "rules").glob("*.smk")}
_RECORDS = ("artifact.json", "complete.json")


class Undisturbed(NamedTuple):
    """A run without any failure: its artifacts (KIND/ID -> file -> digest), and the seconds that it took."""

    artifacts: dict[str, dict[str, str]]
    seconds: float


@dataclasses.dataclass
class Record:
    """The counts of failures and results, over all rounds so far."""

    rounds: int = 0
    runs: int = 0
    seconds: float = 0.0
    kills: Counter[str] = dataclasses.field(default_factory=Counter)  # kind of process -> kills
    troubles: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: Counter[str] = dataclasses.field(default_factory=Counter)  # of the endpoint
    flips: Counter[str] = dataclasses.field(default_factory=Counter)  # kind of file -> flips
    missed: list[str] = dataclasses.field(default_factory=list)  # flips that `orcac verify` did not find
    answers: int = 0  # paid for
    lost_by_faults: int = 0
    paid_twice: int = 0
    in_flight: int = 0  # the most answers that the kills and full disks could have cost
    compared: int = 0  # artifacts
    different: list[str] = dataclasses.field(default_factory=list)


class Disk:
    """A small file system that can be filled; without a mount, the folder is an ordinary one and is never full."""

    def __init__(self, folder: Path, *, mebibytes: int = 300) -> None:
        self.folder, self._size = folder, mebibytes
        self.is_mounted = False

    def __enter__(self) -> Disk:
        self.folder.mkdir(parents=True)
        line = ["mount", "-t", "tmpfs", "-o", f"size={self._size}m", "tmpfs", str(self.folder)]
        self.is_mounted = os.geteuid() == 0 and subprocess.run(line, capture_output=True).returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Leave no byte free meanwhile."""
        path = self.folder / "filler"
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        try:
            yield
        finally:
            path.unlink()


class Round:
    """A study under failures, with a mean of `gap` between two of them, as a fraction of the undisturbed run.

    `daemons` are those of the cluster that it runs on, if it runs on one.
    """

    def __init__(
        self,
        study: Study,
        teachers: Teachers,
        record: Record,
        *,
        seed: int,
        disk: Disk,
        expected: Undisturbed,
        gap: float,
        daemons: Daemons | None = None,
    ) -> None:
        self._study, self._teachers, self._record, self._disk = study, teachers, record, disk
        self._expected, self._draw, self._daemons = expected, random.Random(seed), daemons
        self._gap_s = gap * expected.seconds
        self._asking: set[int] = set()  # ids of the processes that asked when something was killed, or a disk was full

    def run(self, *, events: int) -> None:
        """Run the study with so many failures, then undisturbed; fill the record. Raises AssertionError if it fails."""
        left, began, flips_before = events, time.monotonic(), self._record.flips.total()
        while True:
            self._record.runs += 1
            disturbed = bool(find_processes(self._study.token, self._study.store))  # by those of an earlier run
            child = self._study.start()
            while left and self._wait(child, self._draw.expovariate(1 / self._gap_s)):
                self._trouble()
                left, disturbed = left - 1, True
            if not left:
                assert not self._wait(child, END_S), "the run does not end"
            code = child.wait()
            assert code == 0 or disturbed, f"an undisturbed run failed ({code}):\n{self._tail()}"
            if code == 0 and not left and self._record.flips.total() > flips_before:
                break
            left -= bool(left)  # so that the end comes nearer, also if every run fails at once
            if code == 0 or self._draw.random() < 0.5:  # else the next run meets the processes that are left
                self._kill_all()
                self._flip()
        self._compare()
        self._record.rounds += 1
        self._record.seconds += time.monotonic() - began

    def _wait(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Wait for so long, or until the run has ended; return whether it goes on."""
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    # --- the failures ------------------------------------------------------------------------------------------------

    def _trouble(self) -> None:
        troubles: dict[Callable[[], None], int] = {self._kill: 6, self._jump: 2, self._take_down: 1, self._stop: 1}
        if self._disk.is_mounted:
            troubles[self._fill] = 2
        if self._daemons:
            troubles[self._kill_slurm] = 2
        self._draw.choices([*troubles], [*troubles.values()])[0]()

    def _kill(self) -> None:
        """Kill a process of a random kind, more likely one that makes a node."""
        found = find_processes(self._study.token, self._study.store)
        if not found:
            return
        self._count_in_flight()
        kinds = sorted({process.kind for process in found})
        kind = self._draw.choices(kinds, [3 if kind in _STAGES else 1 for kind in kinds])[0]
        pid = self._draw.choice([process.pid for process in found if process.kind == kind])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._record.kills[kind] += 1

    def _stop(self) -> None:
        """Suspend a process for longer than a heartbeat takes, as a busy machine does."""
        found = find_processes(self._study.token, self._study.store)
        if not found:
            return
        pid = self._draw.choice(found).pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._draw.uniform(1, 6))
            os.kill(pid, signal.SIGCONT)
            self._record.troubles["process suspended"] += 1

    def _jump(self) -> None:
        """Set the clock of all processes wrong by up to two days."""
        offset = self._draw.choice([0, 7_000, -7_000, 172_800, -172_800]) + self._draw.uniform(-30, 30)
        part = self._study.clock.with_suffix(".part")
        part.write_text(str(offset))
        part.replace(self._study.clock)
        self._record.troubles["clock jump"] += 1

    def _take_down(self) -> None:
        self._teachers.is_down = True
        time.sleep(self._draw.uniform(1, 6))
        self._teachers.is_down = False
        self._record.troubles["endpoint down"] += 1

    def _fill(self) -> None:
        self._count_in_flight()
        with self._disk.filled():
            time.sleep(self._draw.uniform(1, 6))
            self._count_in_flight()
        self._record.troubles["disk full"] += 1

    def _kill_slurm(self) -> None:
        assert self._daemons
        self._record.kills[self._daemons.kill(self._draw)] += 1

    def _count_in_flight(self) -> None:
        """Add the most answers that are in flight now, once for each process that asks."""
        found = find_processes(self._study.token, self._study.store)
        asking = {process.pid for process in found if process.kind in ASKERS} - self._asking
        self._asking |= asking
        self._record.in_flight += CONCURRENCY * len(asking)

    def _kill_all(self) -> None:
        """Kill every process of the study, and wait for their ends."""
        self._count_in_flight()
        if self._daemons:
            self._daemons.cancel_all()
        self._record.kills += self._study.kill_all()

    # --- flipped bits ------------------------------------------------------------------------------------------------

    def _flip(self) -> None:
        """Damage files of the store, let `orcac verify` find and repair them, and damage a file of unfinished work."""
        store, draw = self._study.store, self._draw
        finished = flips.list_finished(store)
        flipped = [flips.flip(path, draw) for path in draw.sample(finished, min(_FLIPS, len(finished)))]
        ledger = [flips.flip(path, draw, end=end) for path, end in [*flips.list_ledger(store)][:1]]
        findings = self._study.verify("--repair")
        unsound = "\n".join(findings["records"]["damaged"])
        for one in flipped:
            name = one.path.relative_to(store)
            self._record.flips[one.path.suffix.removeprefix(".") if name.name not in _RECORDS else "record"] += 1
            damage = "\n".join(findings["damaged"].get("/".join(name.parts[:2]), ()))
            if str(name) not in damage and "the record is damaged" not in damage:
                self._record.missed.append(str(name))
        for one in ledger:
            self._record.flips["recorded answers"] += 1
            if one.path.name not in unsound:
                self._record.missed.append(str(one.path))
            one.undo()
        again = self._study.verify()
        assert not again["damaged"] and not again["answers"], again
        if unfinished := flips.list_unfinished(store):
            flips.flip(draw.choice(unfinished), draw)
            self._record.flips["unfinished work"] += 1

    # --- the end -----------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        made, expected = self._study.artifacts(), self._expected.artifacts
        assert made.keys() <= expected.keys(), made.keys() - expected.keys()
        # a damaged artifact that nothing needs any more is not made again
        assert {ref for ref in expected if ref.startswith("report/")} <= made.keys(), made.keys()
        self._record.compared += len(made)
        self._record.different += [
            f"{ref}/{name}" for ref in made for name in made[ref] if made[ref][name] != expected[ref].get(name)
        ]
        findings = self._study.verify()
        assert not findings["damaged"] and not findings["answers"] and not findings["held"], findings
        teachers = self._teachers
        self._record.answers += teachers.paid.total()
        self._record.lost_by_faults += teachers.lost.total()
        self._record.paid_twice += teachers.paid_twice
        self._record.faults += teachers.faults

    def _tail(self) -> str:
        return self._study.log.read_text(errors="replace")[-4000:]


def run_undisturbed(folder: Path, *, epochs: int) -> Undisturbed:
    """Run the study once without any failure."""
    teachers, began = Teachers(0, share=0.0), time.monotonic()
    with teachers.server:
        study = Study(folder, url=teachers.server.base_url, epochs=epochs)
        code = study.start().wait()
        assert code == 0, study.log.read_text(errors="replace")[-4000:]
        assert not teachers.paid_twice
        return Undisturbed(study.artifacts(), time.monotonic() - began)
