"""The tries of one run to make a node: the Slurm jobs that began it, and the error that ended the last one for good.

A run is one call of Snakemake by a person (`orcac run`, `snakemake`); its jobs inherit the run's name, RUN. When a job
fails, Snakemake submits it again. The earlier jobs then show which resource was short, so that the next one asks for
more of it (`orcac.smk`); and an error that each try would meet again ends the next one at once. Neither is used by
another run: the person may have mended the cause.

`tries.json` and `error.json` in the folder of a node or shard hold them, and go when the node is made.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from orcac.errors import InputError
from orcac.store import durable
from orcac.store.links import is_plain

Cause = Literal["memory", "time", ""]  # what a job had too little of; "" for every other end

RUN = "ORCAC_RUN"  # the environment variable that holds the name of the run
_LARGEST = 1 << 20  # bytes of a record


def record_job(folder: Path) -> None:
    """Add this process's Slurm job to the run's tries in `folder`; do nothing outside Slurm or outside a run."""
    run, job = os.environ.get(RUN), os.environ.get("SLURM_JOB_ID")
    if not run or not job:
        return
    with contextlib.suppress(OSError):  # the node can be made without it
        folder.mkdir(parents=True, exist_ok=True)
        durable.write(folder / "tries.json", json.dumps({"run": run, "jobs": [*list_jobs(folder, run), job]}) + "\n")


def list_jobs(folder: Path, run: str) -> list[str]:
    """Return the Slurm jobs in which this run tried to make a node or shard, in order, each once."""
    record = _read(folder / "tries.json")
    jobs = record.get("jobs") if record.get("run") == run else None
    found = [job for job in jobs if isinstance(job, str) and job.isdigit()] if isinstance(jobs, list) else []
    return list(dict.fromkeys(found))


def refuse_known_error(folder: Path) -> None:
    """Raise the InputError that ended an earlier try of this run: the same input would end in it again."""
    record, run = _read(folder / "error.json"), os.environ.get(RUN)
    if run and record.get("run") == run and record.get("is_final") is True:
        raise InputError(str(record.get("message", "")))


def read_cause(folder: Path, run: str) -> Cause:
    """Return what the last try of this run had too little of, by the node's own record."""
    record = _read(folder / "error.json")
    return "memory" if record.get("run") == run and record.get("short_of") == "memory" else ""


def _read(path: Path) -> dict[str, Any]:
    """Return a record; {} if it is missing or damaged. Another user may have written it."""
    try:
        if not is_plain(path) or path.stat().st_size > _LARGEST:
            return {}
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
