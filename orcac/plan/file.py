"""The plan file as plain data: read without pydantic and without the kinds, which take longer to import than to use.

Snakemake's rules, and commands that only look a node up, need no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, NotRequired, TypedDict, cast

from orcac.errors import InputError
from orcac.store.durable import retry_stale, write_if_changed
from orcac.store.locks import flock

FORMAT = 2
MINUTES, MEMORY_MB = 120, 2000  # of a job for which neither the spec nor an estimate states any
_UNUSED_S = 30 * 86_400.0


class NodeData(TypedDict):
    """A node in the plan file."""

    kind: str
    label: str
    recipe: dict[str, object]
    inputs: dict[str, list[str]]
    execution: dict[str, object]
    arms: list[str]
    waits: list[str]  # `Node.blockers`
    version: NotRequired[int]  # of a kept node alone (`Node.version`)


class ExperimentData(TypedDict):
    """An experiment in the plan file. `arms` are pairs, since keys are sorted and the spec's order matters."""

    spec: str
    report: str
    targets: NotRequired[list[str]]  # absent in a plan that an older orcac wrote: the report alone
    arms: list[tuple[str, list[str]]]
    addresses: dict[str, dict[str, str]]


class PlanData(TypedDict):
    """The plan file."""

    format: int
    order: list[str]
    experiments: dict[str, ExperimentData]
    nodes: dict[str, NodeData]


def find_ref(refs: Iterable[str], text: str) -> str:
    """Return the only one of `refs` (KIND/ID) that begins with `text`, or whose ID does. A full match wins.

    Raises InputError if none or several begin so.
    """
    matches = sorted({ref for ref in refs if ref.startswith(text) or ref.partition("/")[2].startswith(text)})
    if text in matches:
        return text
    if not matches:
        raise InputError(f"{text}: no such node in the plan or the store", fix="`orcac plan SPEC` lists a spec's nodes")
    if len(matches) > 1:
        fix = f"write more of the id: {', '.join(matches[:3])}"
        raise InputError(f"{text}: the names of {len(matches)} nodes begin so", fix=fix)
    return matches[0]


class PlanCopy(NamedTuple):
    """The copy of a plan that a run reads."""

    path: Path
    lock: BinaryIO  # open as long as this process needs the copy
    is_locked: bool  # False if the file system has no locks


def keep_copy(text: str, folder: Path) -> PlanCopy:
    """Write the text of a plan file under a name that depends on it, and lock it against `release_copy`."""
    path = folder / f"plan-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    while True:
        write_if_changed(path, text)
        with contextlib.suppress(FileNotFoundError):  # another run has just released it
            lock = path.open("rb")
            locked = flock(lock.fileno(), shared=True)
            if locked is not False and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                os.utime(path)
                return PlanCopy(path, lock, bool(locked))
            lock.close()


def release_copy(copy: PlanCopy) -> None:
    """Delete the copy unless another process may use it, and the copies that none has begun to use for 30 days.

    The jobs of a cluster may start days after the process that submitted them, so call it for a local run alone.
    """
    copy.lock.close()
    for path in copy.path.parent.glob("plan-????????????.json"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            is_old = path.stat().st_mtime < time.time() - _UNUSED_S
            locked = flock(file.fileno()) if is_old or path == copy.path else False
            if locked or (locked is None and is_old):  # no process uses it, as far as is known without locks
                path.unlink()


def read_plan_text(path: Path) -> str:
    """Read the plan file. Raises InputError if it is missing or unreadable."""
    try:
        return retry_stale(path.read_bytes).decode("utf-8")
    except FileNotFoundError:
        fix = "compile a spec first, or change to the folder of its study"
        raise InputError(f"{path}: there is no plan", fix=fix) from None
    except OSError as error:
        fix = "set ORCAC_PLAN to the path of a file that you can read"
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
    except ValueError:
        raise InputError(f"{path}: the plan is damaged", fix="compile the spec again") from None


def parse_plan_data(text: str, path: Path) -> PlanData:
    """Return the content of the plan file as plain data; only its format number is checked.

    Raises InputError if it is not JSON, or has another format number.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: the plan is damaged", fix="compile the spec again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: the plan was made by another version of orcac", fix="compile the spec again")
    return cast(PlanData, data)
