"""Locks between processes on any hosts that share a file system, also one that has no `flock`.

An owner file names the process that holds something: `take` makes it, `release` removes it. O_EXCL makes a file for one
process alone, on any file system, so this needs no other lock. The owner touches its file every 5 s (`beating`). An
owner has ended if its process on this host has, or, on another host, if its file is 60 s old. Hosts have clocks that
differ, so an age is counted by the clock that sets the times of files: `file_system_time` touches a file and reads it.

A process that finds an ended owner may be slow, and another one may be the owner by the time it acts. So it first takes
FILE.TOKEN, where the token is the digest of the owner file, and removes that file only if it still has this token. An
owner that has ended writes no second file, so one process alone removes it. A process may die there too: FILE.TOKEN is
itself an owner file.

`flock` is the lock of the system. It ends with its process at once, also between containers, and costs no heartbeat.
Lustre without `-o flock` refuses it (ENOSYS), and so does NFS without a lock daemon (ENOLCK): `try_hold` then takes an
owner file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orcac.store.durable import retry_stale

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_LARGEST = 65_536  # bytes of an owner file
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class Owner(NamedTuple):
    """The content of an owner file."""

    record: dict[str, object]  # host, pid, started; {} if the file cannot be read
    token: str
    touched: float  # seconds since 1970, by the clock of the file system


def flock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed. Return False if another process holds it, None if there are no locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


@contextlib.contextmanager
def try_hold(path: Path, *, mode: int = 0o666) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made if need be, and yield whether it was free."""
    descriptor = open_lock(path, mode)
    try:
        held = flock(descriptor)
        if held is not None:
            yield held
            return
        owner = path.with_name(f"{path.name}.owner")
        if not take(owner, clock=path):
            yield False
            return
        with beating(owner):
            yield True
    finally:
        os.close(descriptor)


def open_lock(path: Path, mode: int = 0o666) -> int:
    """Return a descriptor of the file `path`, which is made if need be. Raises OSError if it is a link."""
    # writable, which NFS demands for an exclusive lock
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def take(path: Path, *, clock: Path) -> bool:
    """Make the owner file `path` for this process, and return False if a live process has it.

    clock: a file beside it, whose time may be changed at will. Raises FileNotFoundError if there is no such folder.
    """
    if _create(path):
        return True
    try:
        owner = read_owner(path)
    except FileNotFoundError:
        return _create(path)
    if not _has_ended(owner, clock):
        return False
    right = path.with_name(f"{path.name}.{owner.token}")
    if not take(right, clock=clock):
        return False
    try:
        with contextlib.suppress(FileNotFoundError):
            if read_owner(path).token == owner.token and has_ended(path, clock=clock):
                path.unlink()
    finally:
        right.unlink(missing_ok=True)
    return _create(path)


def release(path: Path) -> None:
    """Remove the owner file, unless another process has taken it over."""
    if is_own(path):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def beating(path: Path) -> Iterator[None]:
    """Touch the owner file of this process again and again, and release it at the end."""
    ended = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        ended.set()
        heartbeat.join()
        release(path)


def has_ended(path: Path, *, clock: Path) -> bool:
    """Return whether the owner of the file has ended; True if there is no such file."""
    try:
        return _has_ended(read_owner(path), clock)
    except (FileNotFoundError, NotADirectoryError):
        return True


def is_own(path: Path) -> bool:
    """Return whether this process made the owner file."""
    try:
        return read_owner(path).record == _own_record()
    except OSError:
        return False


def read_owner(path: Path) -> Owner:
    """Read an owner file. Raises FileNotFoundError if it does not exist.

    The record is {} if the file is not readable: while it is being written, after a crash that cut it short, or without
    the permission. It then counts by its age alone.
    """
    try:
        content, touched = retry_stale(lambda: _read(path))
    except FileNotFoundError:
        raise
    except OSError:
        content, touched = b"", path.lstat().st_mtime
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    return Owner(record if isinstance(record, dict) else {}, hashlib.sha256(content).hexdigest()[:16], touched)


def file_system_time(clock: Path) -> float:
    """Return the time in seconds since 1970 by the clock of the file system, which touches the file `clock`.

    A server such as NFS has a clock of its own. If the file may not be touched, this is the host's time.
    """
    try:
        os.utime(clock, follow_symlinks=False)
        return clock.lstat().st_mtime
    except OSError:
        return time.time()


def boot_id() -> str:
    """Return a name of the current boot of this host (and container); "" if the system does not give one.

    Two processes with the same name can see each other's process ids, and share a page cache that no crash has emptied.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{_host()} {boot.read_text().strip()}" if boot.exists() else ""


def _create(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(_own_record(), file)
    except OSError:  # a full disk: an empty file would keep all others away until it is old
        path.unlink(missing_ok=True)
        raise
    return True


def _has_ended(owner: Owner, clock: Path) -> bool:
    if owner.record.get("host") == _host() and sys.platform == "linux":
        return _start_time(owner.record.get("pid")) != owner.record.get("started")
    return file_system_time(clock) - owner.touched > STALE_SECONDS


def _read(path: Path) -> tuple[bytes, float]:
    """Return the content and the time of a file. To open it makes NFS ask its server for both."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(_LARGEST), os.fstat(file.fileno()).st_mtime


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if is_own(path):
                os.utime(path)


def _own_record() -> dict[str, object]:
    return {"host": _host(), "pid": os.getpid(), "started": _start_time(os.getpid())}


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
