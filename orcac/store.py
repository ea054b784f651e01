"""The store: `store/<kind>/<id>/`, one folder an artifact.

    artifact.json   the marker, and the only output that a rule declares; written last, atomically
    complete.json   the same bytes, written just before: Snakemake deletes a marker when it is killed or retries,
                    and a node that finds its own complete record publishes again instead of working again
    <files>         what the kind leaves
    work/           progress of a node that is being made: checkpoints, partial answers; gone when it is done
    lease.json      who is making it now

Rules. A file of an artifact is never changed once artifact.json stands. Every input is checked against its
digest before it is used, so damage is found where it is, not three nodes later. A lease is a file with a
heartbeat (its mtime, every 5 s): it is free when it is 60 s old, or when its process on this host is gone.
It is taken under a short file lock; the heartbeat is what works across hosts, whatever the file system.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.errors import StoreError
from orcac.recipe import file_digest

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Store:
    root: Path

    @classmethod
    def default(cls) -> Store:
        """`store` in the working folder, or where ORCAC_STORE says."""
        return cls(Path(os.environ.get("ORCAC_STORE", "store")))

    def folder(self, ref: str) -> Path:
        return self.root / ref

    def marker(self, ref: str) -> Path:
        return self.root / ref / "artifact.json"

    def is_done(self, ref: str) -> bool:
        return self.marker(ref).is_file()

    def is_started(self, ref: str) -> bool:
        """Whether a try has left progress that the next one will go on from."""
        return not self.is_done(ref) and (self.folder(ref) / "work").is_dir()

    @property
    def answers(self) -> Path:
        """The ledger of answers, shared by all experiments."""
        return self.root / "answers"

    def artifact(self, ref: str) -> dict[str, Any]:
        """The artifact's record. Raises StoreError when it is missing or damaged.

        The twin serves while the marker is away: Snakemake removes it before a job that finds all done.
        """
        marker = self.marker(ref)
        twin = marker.with_name("complete.json")
        return _record(twin if twin.is_file() and not marker.is_file() else marker)

    def verify(self, ref: str) -> Path:
        """The artifact's folder, once every file of it is as recorded. Raises StoreError naming the one that is not."""
        folder = self.folder(ref)
        _verify(folder, self.artifact(ref))
        return folder

    def republish(self, ref: str) -> bool:
        """Put the marker back where the work was complete; False where it was not, or is damaged."""
        folder = self.folder(ref)
        try:
            record = _record(folder / "complete.json")
            _verify(folder, record)
        except StoreError:
            return False
        _write(folder / "artifact.json", record)
        return True

    def publish(self, ref: str, out: Path, record: dict[str, Any]) -> None:
        """Move the files under `out` into the artifact's folder and write its record, marker last.

        `record` gains `files`: name -> {sha256, bytes}. Raises StoreError when the disk is full.
        """
        folder = self.folder(ref)
        if not _is_ours(folder / "lease.json"):
            fix = "nothing is lost: the other run publishes it, or this one goes on when run again"
            raise StoreError(f"{ref}: another run took it over while this one stood still", fix=fix)
        with disk_errors(folder):
            files: dict[str, dict[str, Any]] = {}
            for path in sorted(path for path in out.rglob("*") if path.is_file()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                name = path.relative_to(out).as_posix()
                files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.chmod(0o644)  # some writers keep their files private; a store is shared
                path.replace(folder / name)
            record = {**record, "files": files}
            _write(folder / "complete.json", record)
            _write(folder / "artifact.json", record)
        shutil.rmtree(folder / "work", ignore_errors=True)
        (folder / "error.json").unlink(missing_ok=True)

    def note_error(self, ref: str, message: str, code: int) -> None:
        """Leave word of why the last try failed, for `orcac run` and `orcac status`."""
        with contextlib.suppress(OSError):
            _write(self.folder(ref) / "error.json", {"message": message, "exit_code": code})

    def error(self, ref: str) -> dict[str, Any] | None:
        """What the last try failed of, or None."""
        try:
            error: dict[str, Any] = json.loads((self.folder(ref) / "error.json").read_text(encoding="utf-8"))
            return error if {"message", "exit_code"} <= error.keys() else None
        except (OSError, ValueError, AttributeError):  # none, or cut by a crash: it is for people only
            return None

    @contextlib.contextmanager
    def lease(self, ref: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Hold the node alone, waiting for whoever holds it now."""
        folder = self.folder(ref)
        folder.mkdir(parents=True, exist_ok=True)
        path, told = folder / "lease.json", False
        while not _take(path):
            if not told:
                told = True
                say(f"{ref} is being made by {_holder(path)}; waiting")
            time.sleep(0.5)
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


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that says where; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "free some space and run again; finished work is kept"
            raise StoreError(f"{folder}: the disk is full", fix=fix) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            fix = "make the store writable, or set ORCAC_STORE to another folder"
            raise StoreError(f"{folder}: cannot write here ({error.strerror})", fix=fix) from error
        raise


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(record["files"], dict)
    except FileNotFoundError:
        raise StoreError(f"{path}: not made yet", fix="run the plan, or make this node first") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        fix = f"remove the folder {path.parent} and run again; it is remade for whatever needs it"
        raise StoreError(f"{path}: the record is damaged", fix=fix) from None
    return record


def _verify(folder: Path, record: dict[str, Any]) -> None:
    fix = f"remove the folder {folder} and run again; it is remade for whatever needs it"
    for name, facts in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise StoreError(f"{path}: the file is missing from its artifact", fix=fix)
        if path.stat().st_size != facts["bytes"] or file_digest(path) != facts["sha256"]:
            raise StoreError(f"{path}: the file is damaged (its digest is not the recorded one)", fix=fix)


def _write(path: Path, record: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def _take(path: Path) -> bool:
    """Take the lease if it is free. The lock makes look-and-take one step among processes of one host."""
    with (path.with_name("lease.lock")).open("w") as lock:
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
        return bool(json.loads(path.read_text(encoding="utf-8")) == _me())
    except (OSError, ValueError):
        return False


def _is_free(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        holder = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:  # being written, or cut by a crash: its age decides
        return age > STALE_SECONDS
    if holder["host"] == _here() and sys.platform == "linux":
        return _started(holder["pid"]) != holder["started"]
    return age > STALE_SECONDS


def _here() -> str:
    """This host, and the container on it: process ids mean something only within both."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink()}" if space.is_symlink() else socket.gethostname()


def _started(pid: int) -> str:
    """The start time of a process in clock ticks, "" when it is gone: a reused pid is not taken for its forebear."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host'].split()[0]}"
    except (OSError, ValueError):
        return "another process"


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _is_ours(path):
                os.utime(path)


def is_leased(folder: Path) -> bool:
    """Whether somebody is making this node now."""
    path = folder / "lease.json"
    return path.exists() and not _is_free(path)
