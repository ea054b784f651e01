"""The store: `store/<kind>/<id>/`, one folder an artifact.

    artifact.json   the marker, and the only output that a rule declares; written last, atomically
    complete.json   the same bytes, written just before: Snakemake deletes a marker when it is killed or retries,
                    and a node that finds its own complete record publishes again instead of working again
    <files>         what the kind leaves
    work/           progress of a node that is being made: checkpoints, partial answers; gone when it is done
    lease.json      who is making it now (lease.py)
    error.json      why the last try failed
    log.txt         what the last try printed
    shards/         of a collect node: a folder like this one for each part, with `done.json` for a marker

Rules. A file of an artifact is never changed once artifact.json stands. Every input is checked against its
digest before it is used, so damage is found where it is, not three nodes later. What is removed loses its
record first: half an artifact is none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.errors import StoreError
from orcac.recipe import file_digest
from orcac.store import durable
from orcac.store.lease import hold, is_ours

_REF = re.compile(r"[a-z]+/[0-9a-f]{20}")
_ABOUT = ("lease.json", "lease.lock", "error.json", "log.txt", "shards", "work")  # of the making, not of what is made


@dataclass(frozen=True, slots=True)
class Damage:
    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Store:
    root: Path

    @classmethod
    def default(cls) -> Store:
        """`store` in the working folder, or where ORCAC_STORE says, where it says anything.

        Raises StoreError where that is no folder.
        """
        root = Path(os.environ.get("ORCAC_STORE") or "store")
        if os.path.lexists(root) and not root.is_dir():
            raise StoreError(f"{root}: the store is no folder", fix="move it away, or set ORCAC_STORE to a folder")
        return cls(root)

    def folder(self, ref: str) -> Path:
        return self.root / ref

    def marker(self, ref: str) -> Path:
        return self.root / ref / "artifact.json"

    def is_done(self, ref: str) -> bool:
        return self.marker(ref).is_file()

    def has_record(self, ref: str) -> bool:
        """Whether it is made, or was when Snakemake took its marker away."""
        return self.is_done(ref) or self.marker(ref).with_name("complete.json").is_file()

    def refs(self) -> list[str]:
        """KIND/ID of every node that has left anything here. A folder that no node has held is not ours."""
        return sorted(
            ref
            for folder in self.root.glob("*/*/")
            if _REF.fullmatch(ref := folder.relative_to(self.root).as_posix())
            and ((folder / "artifact.json").is_file() or (folder / "lease.lock").is_file())
        )

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

    def damages(self, ref: str, hashed: Callable[[int], None] = lambda count: None) -> Iterator[Damage]:
        """All that is wrong with an artifact; `hashed` is told of every so many bytes.

        Raises StoreError when it is not made, or may not be read.
        """
        try:
            record = self.artifact(ref)
        except StoreError:
            if not self.has_record(ref):
                raise
            yield Damage(self.marker(ref), "the record is damaged")
            return
        yield from _damages(self.folder(ref), record, hashed)

    def drop(self, ref: str) -> None:
        """Unmake an artifact whose lease is held: it is to do again, and goes on from what `work/` holds.

        Where the marker alone is damaged, its twin stays: the next try checks it and puts the marker back.
        """
        marker = self.marker(ref)
        twin = marker.with_name("complete.json")
        with disk_errors(marker.parent):
            marker_alone = marker.is_file() and not _is_record(marker) and _is_record(twin)
            marker.unlink(missing_ok=True)
            if marker_alone:
                return
            twin.unlink(missing_ok=True)
            for path in marker.parent.iterdir():
                if path.name in _ABOUT:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

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
        if not is_ours(folder):
            fix = "nothing is lost: the other run publishes it, or this one goes on when run again"
            raise StoreError(f"{ref}: another run took it over while this one stood still", fix=fix)
        with disk_errors(folder):
            files: dict[str, dict[str, Any]] = {}
            for path in sorted(path for path in out.rglob("*") if path.is_file()):
                durable.sync_file(path)
                name = path.relative_to(out).as_posix()
                files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.chmod(0o644)  # some writers keep their files private; a store is shared
                path.replace(folder / name)
            record = {**record, "files": files}
            _write(folder / "complete.json", record)
            _write(folder / "artifact.json", record)
        shutil.rmtree(folder / "work", ignore_errors=True)
        self.forget_error(ref)

    def note_error(self, ref: str, message: str, code: int) -> None:
        """Leave word of why the last try failed, for `orcac run` and `orcac status`."""
        with contextlib.suppress(OSError):
            _write(self.folder(ref) / "error.json", {"message": message, "exit_code": code})

    def forget_error(self, ref: str) -> None:
        """Take back the word of an earlier try."""
        (self.folder(ref) / "error.json").unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raises StoreError where nothing can be made here."""
        with disk_errors(self.root):
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # a file system that makes no folders
                raise OSError(errno.EPERM, error.strerror) from error
            tempfile.TemporaryFile(dir=self.root).close()

    @contextlib.contextmanager
    def lease(self, ref: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Hold the node alone, waiting for whoever holds it now."""
        with hold(self.folder(ref), waiting=lambda holder: say(f"{ref} is being made by {holder}; waiting")):
            yield


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that says where; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "free some space and run again; finished work is kept"
            raise StoreError(f"{folder}: the disk is full", fix=fix) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            fix = "make the store writable, or set ORCAC_STORE to another folder"
            raise StoreError(f"{folder}: cannot write here ({error.strerror})", fix=fix) from error
        raise


def _record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for facts in record["files"].values():
            assert facts["bytes"] >= 0 and re.fullmatch("[0-9a-f]{64}", facts["sha256"])
    except FileNotFoundError:
        raise StoreError(f"{path}: not made yet", fix="run the plan, or make this node first") from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise StoreError(f"{path}: the record is damaged", fix=_mend(path.parent)) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})", fix="mend its disk or permissions") from None
    return record


def _is_record(path: Path) -> bool:
    try:
        _record(path)
    except StoreError:
        return False
    return True


def _verify(folder: Path, record: dict[str, Any]) -> None:
    for damage in _damages(folder, record):
        raise StoreError(str(damage), fix=_mend(folder))


def _mend(folder: Path) -> str:
    ref = f"{folder.parent.name}/{folder.name}"
    return f"`orcac verify {ref} --repair`, then run again: it is remade for whatever needs it"


def _damages(
    folder: Path, record: dict[str, Any], hashed: Callable[[int], None] = lambda count: None
) -> Iterator[Damage]:
    for name, facts in record["files"].items():
        path = folder / name
        try:
            if not path.is_file():
                yield Damage(path, "the file is missing from its artifact")
            elif path.stat().st_size != facts["bytes"]:
                yield Damage(path, "the file is damaged (its size is not the recorded one)")
            elif file_digest(path, hashed) != facts["sha256"]:
                yield Damage(path, "the file is damaged (its digest is not the recorded one)")
        except OSError as error:
            if error.errno != errno.EIO:
                fix = "mend its disk or permissions"
                raise StoreError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
            yield Damage(path, "the file is damaged (its disk cannot read it)")


def _write(path: Path, record: dict[str, Any]) -> None:
    durable.write(path, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
