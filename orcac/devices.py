"""The cores and the GPUs of this machine.

Each job of a run holds its own GPUs. Slurm shows a job its GPUs alone. Without Slurm, jobs that run side by side see
all GPUs, and each would take the first one. So a job locks the GPUs that it needs, and hides the others from the
libraries that it loads. A lock is a file that the process keeps open, so a job that dies frees its GPUs. Other users
and programs do not know these locks.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from orcac.errors import MachineError
from orcac.store.locks import try_hold

__all__ = ["count_cores", "find_gpus", "hold_gpus"]

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_S = 2.0


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_gpus(devices: Path = Path("/dev")) -> list[str]:
    """Return the names of the GPUs that CUDA shows to this process: those of CUDA_VISIBLE_DEVICES, or 0, 1, ..."""
    visible = os.environ.get(_VISIBLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(sum(1 for _ in devices.glob("nvidia[0-9]*")))]


@contextlib.contextmanager
def hold_gpus(count: int, *, gpus: Sequence[str] | None = None, folder: Path | None = None) -> Iterator[None]:
    """Show only `count` GPUs of `gpus` while the block runs: the first that no other job holds. Wait for them.

    Do nothing if there are no more than that. `folder` has the locks; by default it is one of this user.
    """
    gpus = find_gpus() if gpus is None else gpus
    if not 0 < count < len(gpus):
        yield
        return
    folder = folder or Path(tempfile.gettempdir()) / f"orcac-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise MachineError(f"{folder}: belongs to another user, and is to have the locks of GPUs", fix="set TMPDIR")
    with contextlib.ExitStack() as locks:
        while not (held := _lock(locks, count, gpus, folder)):
            time.sleep(random.uniform(0, 2 * _POLL_S))
        before = os.environ.get(_VISIBLE)
        os.environ[_VISIBLE] = ",".join(held)
        try:
            yield
        finally:
            os.environ.pop(_VISIBLE)
            if before is not None:
                os.environ[_VISIBLE] = before


def _lock(locks: contextlib.ExitStack, count: int, gpus: Sequence[str], folder: Path) -> list[str]:
    """Lock GPUs that are free, until `locks` closes, and return them; return [] and lock none if they are too few."""
    with contextlib.ExitStack() as tried:
        held: list[str] = []
        for gpu in gpus:
            if tried.enter_context(try_hold(folder / quote(gpu, safe=""), mode=0o600)):
                held.append(gpu)
            if len(held) == count:
                locks.enter_context(tried.pop_all())
                return held
    return []
