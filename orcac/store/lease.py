"""Leases on folders, so that two runs on one store, from any two machines, never make the same node at once.

A lease is the file `lease.json` in the node's folder, with a heartbeat: its mtime moves every 5 s. A lease is free if
it is 60 s old, or if its process on this host has ended. Between processes of one host, a short file lock makes the
check and the taking one step. Between hosts the heartbeat alone decides, which works on any file system. `orcac gc` may
move the folder away while a process waits for its lease: the process then makes the folder again. A link in the place
of the folder or of the lease's files is refused (links.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from orcac.store.links import refuse_link

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_LARGEST = 65_536  # bytes of a lease


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
    with _beating(path):
        yield


@contextlib.contextmanager
def try_acquire(folder: Path) -> Iterator[bool]:
    """Hold the folder's lease if it is free, and yield whether it was. Yield False if there is no such folder."""
    path = folder / "lease.json"
    if not _take(path):
        yield False
        return
    with _beating(path):
        yield True


def is_leased(folder: Path) -> bool:
    """Return whether any process holds the folder's lease now."""
    path = folder / "lease.json"
    return path.exists() and not _is_free(path)


def owns_lease(folder: Path) -> bool:
    """Return whether this process still holds the folder's lease."""
    return _is_own(folder / "lease.json")


def new_job_name() -> str:
    """Return a new name for a job of this process, valid as a file name; no other call on any host returns it."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def boot_id() -> str:
    """Return a name of the current boot of this host (and container); "" if the system does not give one.

    Two processes with the same name can see each other's process ids, and share a page cache that no crash has emptied.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{_host()} {boot.read_text().strip()}" if boot.exists() else ""


@contextlib.contextmanager
def _beating(path: Path) -> Iterator[None]:
    """Keep the lease alive by its heartbeat, and give it up at the end unless another process took it over."""
    ended = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        ended.set()
        heartbeat.join()
        if _is_own(path):
            path.unlink(missing_ok=True)


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _is_own(path):
                os.utime(path)


def _take(path: Path) -> bool:
    """Take the lease if it is free, and return whether it was; False if the folder is missing.

    The lock makes the check and the taking one step among processes of one host.
    """
    for one in (path, path.with_name("lease.lock")):
        refuse_link(one, path.parent.parent)
    with contextlib.suppress(FileNotFoundError), _open_lock(path.with_name("lease.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and not _set_aside(path):
            return False
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:  # another host was faster
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump(_own_record(), file)
        return True
    return False  # the folder is missing, or was moved away meanwhile


def _open_lock(path: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # writable, which NFS demands for an exclusive lock
    return os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)  # without a buffer it need not be seekable


def _set_aside(path: Path) -> bool:
    """Move a free lease out of the way, and return whether the path is clear now.

    Another host may take the lease between the check and the move; its lease is then put back.
    """
    if not _is_free(path):
        return False
    aside = path.with_name(f"lease.{uuid.uuid4().hex}.old")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    if free := _is_free(aside):
        aside.unlink()
    else:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
    return free


def _own_record() -> dict[str, object]:
    return {"host": _host(), "pid": os.getpid(), "started": _start_time(os.getpid())}


def _is_own(path: Path) -> bool:
    try:
        return _read(path) == _own_record()
    except OSError:
        return False


def _is_free(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        holder = _read(path)
    except FileNotFoundError:
        return True
    if holder.get("host") == _host() and sys.platform == "linux":
        return _start_time(holder.get("pid")) != holder.get("started")
    return age > STALE_SECONDS


def _read(path: Path) -> dict[str, object]:
    """Return the lease's record of its holder, or {} if that cannot be read; the lease then counts by its age alone.

    It cannot be read while it is being written, after a crash cut it short, or without the permission to read it.
    Raises FileNotFoundError if there is no lease.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            holder = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _host() -> str:
    """Return a name of this host and of the container on it: a process id has a meaning only within both."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink()}" if space.is_symlink() else socket.gethostname()


def _start_time(pid: object) -> str:
    """Return the start time of a process in clock ticks, "" if it has ended.

    The start time distinguishes two processes that had the same id, one after the other.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # a process that is dead and waits for its parent has ended


def _holder_name(path: Path) -> str:
    try:
        holder = _read(path)
        return f"process {holder['pid']} on {str(holder['host']).split()[0]}"
    except (OSError, LookupError):
        return "another process"
