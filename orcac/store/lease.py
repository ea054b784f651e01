"""A lease: who is making a node now, so that two runs on one store, from any two machines, keep apart.

It is `lease.json` in the node's folder: a file with a heartbeat (its mtime, every 5 s). It is free when it is 60 s
old, or when its process on this host is gone. It is taken under a short file lock; the heartbeat is what works across
hosts, whatever the file system. The folder may be moved away while somebody waits (`orcac gc`): then it is made again.
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
from typing import Any

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


@contextlib.contextmanager
def hold(folder: Path, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold the folder alone, waiting for whoever holds it now; `waiting` is told once who that is."""
    path, told = folder / "lease.json", False
    while not _take(path):
        if path.exists() and not told:
            told = True
            waiting(_holder(path))
        folder.mkdir(parents=True, exist_ok=True)
        if told:
            time.sleep(0.5)
    with _beating(path):
        yield


@contextlib.contextmanager
def hold_if_free(folder: Path) -> Iterator[bool]:
    """Hold the folder alone if nobody holds it; whether that is so. False where there is no such folder."""
    path = folder / "lease.json"
    if not _take(path):
        yield False
        return
    with _beating(path):
        yield True


def is_leased(folder: Path) -> bool:
    """Whether somebody is making this node now."""
    path = folder / "lease.json"
    return path.exists() and not _is_free(path)


def is_ours(folder: Path) -> bool:
    """Whether this process holds the folder still."""
    return _is_ours(folder / "lease.json")


def job_name() -> str:
    """A file name for this process's part in something, which no other process has, nor a later one."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def this_boot() -> str:
    """This host (and container) since it was started: whose processes can be seen, and whose page cache is whole."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{_here()} {boot.read_text().strip()}" if boot.exists() else ""


@contextlib.contextmanager
def _beating(path: Path) -> Iterator[None]:
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        if _is_ours(path):
            path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    """Take the lease if it is free. The lock makes look-and-take one step among processes of one host."""
    with contextlib.suppress(FileNotFoundError), path.with_name("lease.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and not _set_aside(path):
            return False
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:  # another host was faster
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump(_me(), file)
        return True
    return False  # there is no folder, or it was moved away meanwhile


def _set_aside(path: Path) -> bool:
    """Move a free lease out of the way. One that another host took between the look and the move is put back."""
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


def _me() -> dict[str, Any]:
    return {"host": _here(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_ours(path: Path) -> bool:
    try:
        return _read(path) == _me()
    except OSError:
        return False


def _is_free(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        holder = _read(path)
    except FileNotFoundError:
        return True
    if holder.get("host") == _here() and sys.platform == "linux":
        return _started(holder.get("pid")) != holder.get("started")
    return age > STALE_SECONDS


def _read(path: Path) -> dict[str, Any]:
    """Who holds it; nothing where that is being written, was cut by a crash, or may not be read: its age decides.

    Raises FileNotFoundError.
    """
    try:
        holder = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _here() -> str:
    """This host, and the container on it: process ids mean something only within both."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink()}" if space.is_symlink() else socket.gethostname()


def _started(pid: object) -> str:
    """The start time of a process in clock ticks, "" when it is gone: a reused pid is not taken for its forebear."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # one that is dead already and waits for its parent is gone


def _holder(path: Path) -> str:
    try:
        holder = _read(path)
        return f"process {holder['pid']} on {str(holder['host']).split()[0]}"
    except (OSError, LookupError):
        return "another process"


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _is_ours(path):
                os.utime(path)
