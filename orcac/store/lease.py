"""Leases on folders, so that two runs on one store, from any two machines, never make the same node at once.

A lease is the owner file `lease.json` in the node's folder (locks.py): its heartbeat moves its time every 5 s, and it
is free if it is 60 s old, or if its process on this host has ended. `lease.lock` beside it shows the clock of the file
system, and marks a folder as one of a node. `orcac gc` may move the folder away while a process waits for its lease:
the process then makes the folder again. A link in the place of the folder or of the lease's files is refused
(links.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from orcac.store.links import refuse_link
from orcac.store.locks import beating, has_ended, is_own, open_lock, read_owner, take

_CLOCK = "lease.lock"


@contextlib.contextmanager
def acquire(
    folder: Path, on_wait: Callable[[str], None] = lambda holder: None, *, poll_seconds: float = 0.5
) -> Iterator[None]:
    """Hold the folder's lease, making the folder if need be and waiting while another process holds the lease.

    `on_wait` is called once, with the present holder's name, if there is anything to wait for.
    """
    path, waiting = folder / "lease.json", False
    while not _take(path):
        if path.exists() and not waiting:
            waiting = True
            on_wait(_holder_name(path))
        folder.mkdir(parents=True, exist_ok=True)
        if waiting:
            time.sleep(poll_seconds)
    with beating(path):
        yield


@contextlib.contextmanager
def try_acquire(folder: Path) -> Iterator[bool]:
    """Hold the folder's lease if it is free, and yield whether it was. Yield False if there is no such folder."""
    path = folder / "lease.json"
    if not _take(path):
        yield False
        return
    with beating(path):
        yield True


def is_leased(folder: Path) -> bool:
    """Return whether any process holds the folder's lease now."""
    return not has_ended(folder / "lease.json", clock=folder / _CLOCK)


def owns_lease(folder: Path) -> bool:
    """Return whether this process still holds the folder's lease."""
    return is_own(folder / "lease.json")


def new_job_name() -> str:
    """Return a new name for a job of this process, valid as a file name; no other call on any host returns it."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _take(path: Path) -> bool:
    """Take the lease if it is free, and return whether it was; False if the folder is missing."""
    clock = path.with_name(_CLOCK)
    for one in (path, clock):
        refuse_link(one, path.parent.parent)
    with contextlib.suppress(FileNotFoundError):  # the folder is missing, or was moved away meanwhile
        os.close(open_lock(clock))
        return take(path, clock=clock)
    return False


def _holder_name(path: Path) -> str:
    try:
        holder = read_owner(path).record
        return f"process {holder['pid']} on {str(holder['host']).split()[0]}"
    except (OSError, LookupError):
        return "another process"
