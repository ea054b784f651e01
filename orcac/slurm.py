"""Facts that Slurm knows: why a job ended, and the limits of a partition.

They are read with `scontrol`, `sacct` and `sinfo`. A command that is missing, fails or prints an unknown text gives no
fact: a job then keeps the resources that it has. The texts are parsed by pure functions.

A job that ran out of memory has the state OUT_OF_MEMORY if its batch script was killed. If only a step of it was
(orcac's jobs run in one), Slurm may call the job FAILED; the kill is then in the last lines of its log.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from orcac.store.links import is_plain
from orcac.store.tries import Cause

_TIMEOUT_S = 30.0
_TAIL = 16_384  # bytes of a log
_KILLED_FOR_MEMORY = re.compile(r"^(slurmstepd: error: .*\boom[-_]kill|srun: error: .*: Out Of Memory)", re.MULTILINE)
_STATES: dict[str, Cause] = {"OUT_OF_MEMORY": "memory", "TIMEOUT": "time", "DEADLINE": "time"}


class JobFacts(NamedTuple):
    """Facts on a job: its state, its partition and the path of its log; "" if unknown."""

    state: str = ""
    partition: str = ""
    log: str = ""


class Limits(NamedTuple):
    """The largest resources that a job can get; None without a limit."""

    minutes: int | None = None
    memory_mb: int | None = None


def find_job(job: str) -> JobFacts:
    """Return what Slurm knows of a job; its accounting, if there is one, remembers jobs longer than `scontrol` does."""
    if facts := parse_job(_read("scontrol", "show", "job", job, "--oneliner")):
        return facts
    state, _, partition = _read("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,Partition").strip().partition("|")
    return JobFacts(state.partition(" ")[0], partition)  # "CANCELLED by 1000"


def find_cause(facts: JobFacts) -> Cause:
    """Return what an ended job had too little of, by its state or the last lines of its log."""
    if cause := _STATES.get(facts.state, ""):
        return cause
    return "memory" if facts.state == "FAILED" and _KILLED_FOR_MEMORY.search(_read_tail(facts.log)) else ""


def find_limits(partition: str = "") -> Limits:
    """Return the limits of a partition, or the largest of all partitions."""
    fields = ("--partition", partition) if partition else ()
    return parse_limits(_read("sinfo", "--noheader", "--exact", "--format", "%l|%m", *fields).splitlines())


def parse_job(text: str) -> JobFacts | None:
    """Return the facts in a line of `scontrol show job --oneliner`; None if it describes no job."""
    fields = dict(re.findall(r"(?:^| )(JobState|Partition|StdOut)=(\S*)", text))
    if "JobState" not in fields:
        return None
    return JobFacts(fields["JobState"], fields.get("Partition", ""), fields.get("StdOut", ""))


def parse_limits(lines: Iterable[str]) -> Limits:
    """Return the largest limits in lines of `sinfo` with the fields time limit (`1-12:00:00`) and memory in MB."""
    minutes, memory = list[int | None](), list[int]()
    for line in lines:
        time, _, megabytes = line.strip().partition("|")
        minutes.append(_parse_minutes(time))
        memory += [int(megabytes.rstrip("+"))] if megabytes.rstrip("+").isdigit() else []
    known = [limit for limit in minutes if limit is not None]
    return Limits(max(known) if known and len(known) == len(minutes) else None, max(memory, default=None))


def _parse_minutes(text: str) -> int | None:
    """Return the minutes of `DAYS-HH:MM:SS`, `HH:MM:SS` or `MM:SS`; None for `infinite`."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in (*parts, days or "0")):
        return None
    hours, minutes = ([0, *map(int, parts)] if len(parts) < 3 else list(map(int, parts)))[-3:-1]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _read(*line: str) -> str:
    """Return what a command prints; "" if it is missing, fails or hangs."""
    try:
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _read_tail(path: str) -> str:
    if not is_plain(path):
        return ""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, Path(path).stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
