"""The store: `store/<kind>/<id>/`, one folder per artifact.

    artifact.json   the marker, and the only output that a rule declares; written last, atomically; its last field is
                    the digest of the bytes before it
    complete.json   a twin of the marker, written just before it: Snakemake deletes a marker when it is killed or
                    retries, and a node that finds its twin publishes again instead of working again
    <files>         the files that the kind makes
    work/           progress of an unfinished node: checkpoints, partial answers; removed at the end
    lease.json      the lease of the process that makes it now (lease.py)
    error.json      the reason why the last try failed, and the run of that try (tries.py)
    tries.json      the Slurm jobs in which a run tried to make it (tries.py)
    log.txt         the output of the last try
    shards/         a folder like this one for each shard of a node, with `done.json` as its marker

A store may have an upstream: a second store, such as a lab's shared one, that is read and never written. A finished
artifact that only the upstream has counts as done and is read where it is. Everything that writes uses `folder`, which
is always in the store itself; everything that reads an artifact uses `find_folder`. The records and files of both are
untrusted: a record may name only files inside its folder, and no link is followed (links.py).

Rules. A file of an artifact never changes once artifact.json exists. Every input is checked against its digest before
it is used, so that damage is found where it is, not three nodes later. A removal removes the record first, since an
artifact that has lost some of its files must not count as one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from orcac.digest import file_digest
from orcac.errors import StoreError
from orcac.store import durable
from orcac.store.lease import acquire, owns_lease
from orcac.store.links import find_links, is_inside, is_plain, refuse_irregular, refuse_link, refuse_links, remove_links
from orcac.store.tries import RUN, Cause

_REF = re.compile(r"[a-z]+/[0-9a-f]{20}")
_ID = re.compile("[0-9a-f]{20}")
# of chat/ledger/files.py
_ANSWERS_FILE = re.compile(r".+-\d+-[0-9a-f]{8}\.(jsonl|sealing)|(?:[0-9a-f]{16}){1,2}\.parquet")
_WORKING = ("shards", "work")  # folders of a node that its jobs use while they make it
_NOTES = ("lease.json", "lease.lock", "error.json", "tries.json", "log.txt")  # on the making of a node
_NOT_FILES = (*_WORKING, *_NOTES, "artifact.json", "complete.json")


_DIGEST = "sha256"  # the last field of a record: the digest of the bytes before it
_BEFORE_DIGEST = f',\n "{_DIGEST}": '.encode()


class FileFacts(TypedDict):
    """The recorded size and digest of an artifact's file."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of an artifact that is not as recorded."""

    path: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Store:
    """The artifacts under one folder, and those of its upstream. A node is named by `ref`, its KIND/ID."""

    root: Path
    upstream: Path | None = None  # the folder of a second store, which is only read

    @property
    def own(self) -> Store:
        """This store without its upstream."""
        return Store(self.root)

    @property
    def is_begun(self) -> bool:
        """True if the folder holds a begun artifact or recorded answers, as no other folder of that name does."""
        for folder in self.root.glob("*/"):
            pattern = _ANSWERS_FILE if folder.name == "answers" else _ID
            with contextlib.suppress(OSError):  # a folder that may not be listed
                if any(pattern.fullmatch(path.name) for path in folder.iterdir()):
                    return True
        return False

    def folder(self, ref: str) -> Path:
        """Return the node's folder in this store, which may not exist yet."""
        return self.root / ref

    def find_folder(self, ref: str) -> Path:
        """Return the folder that holds the artifact: the upstream's if only the upstream has it."""
        return self.upstream / ref if self.upstream and self.is_upstream(ref) else self.root / ref

    def marker(self, ref: str) -> Path:
        """Return the path of the artifact's artifact.json, as `find_folder`; it may not exist yet."""
        return self.find_folder(ref) / "artifact.json"

    def is_own(self, ref: str) -> bool:
        """Return whether the node's marker exists in this store."""
        return is_plain(f"{self.root}/{ref}/artifact.json")  # a large plan asks for each of its nodes several times

    def is_upstream(self, ref: str) -> bool:
        """Return whether the node is finished in the upstream, and not made in this store."""
        return self.upstream is not None and not self._is_made(ref) and is_plain(self.upstream / ref / "artifact.json")

    def is_done(self, ref: str) -> bool:
        """Return whether the node is finished, here or in the upstream."""
        return self.is_own(ref) or self.is_upstream(ref)

    def has_record(self, ref: str) -> bool:
        """Return whether the node is made, even if Snakemake has removed its marker."""
        return self._is_made(ref) or self.is_upstream(ref)

    def _is_made(self, ref: str) -> bool:
        """Return whether the node is made in this store, even if Snakemake has removed its marker."""
        return self.is_own(ref) or is_plain(self.root / ref / "complete.json")

    def refs(self) -> list[str]:
        """Return the KIND/ID of every node that has been begun, sorted. Folders that are not of nodes are left out."""
        return sorted(
            ref
            for folder in self.root.glob("*/*/")
            if _REF.fullmatch(ref := folder.relative_to(self.root).as_posix())
            and not (folder.is_symlink() or folder.parent.is_symlink())
            and (is_plain(folder / "artifact.json") or is_plain(folder / "lease.lock"))
        )

    def list_finished(self, kind: str) -> list[str]:
        """Return the KIND/ID of every finished node of a kind, here and in the upstream, sorted.

        Nodes of an upstream at a URL whose files are not here are left out.
        """
        stores = [self, *([Store(self.upstream)] if self.upstream else [])]
        refs = {ref for store in stores for ref in store.refs() if ref.startswith(f"{kind}/")}
        return sorted(ref for ref in refs if self.is_own(ref) or (self.is_upstream(ref) and self._has_files(ref)))

    def _has_files(self, ref: str) -> bool:
        """Return whether there are files beside a node's record."""
        return any(path.name != "artifact.json" for path in self.find_folder(ref).iterdir())

    @property
    def answers(self) -> Path:
        """The folder of the ledger of answers, which all experiments share."""
        return self.root / "answers"

    @property
    def upstream_answers(self) -> Path | None:
        """The folder of the upstream's ledger, if the upstream has one."""
        folder = self.upstream / "answers" if self.upstream else None
        return folder if folder and folder.is_dir() else None

    def artifact(self, ref: str) -> dict[str, Any]:
        """Return the artifact's record. Raises StoreError if it is missing or damaged, or a link leads to its files.

        The twin is read while the marker is missing, because Snakemake removes the marker before it runs a job that
        finds its node done.
        """
        if self.upstream and self.is_upstream(ref):
            with _blame_upstream():
                for damage in _find_links(self.upstream / ref):
                    raise StoreError(str(damage))
                refuse_link(self.upstream / ref, self.upstream)
                return read_record(self.upstream / ref / "artifact.json")
        marker = self.root / ref / "artifact.json"
        twin = marker.with_name("complete.json")
        refuse_link(marker, self.root)
        path = twin if is_plain(twin) and not is_plain(marker) else marker
        record = read_record(path)
        if record.get("ref", ref) != ref:
            raise StoreError(f"{path}: is the record of another artifact", fix=_repair_hint(marker.parent))
        for name in record["files"]:
            refuse_link(marker.parent / name, marker.parent)
        return record

    def verify(self, ref: str) -> Path:
        """Check every file of an artifact and return its folder. Raises StoreError naming the first damaged file."""
        folder, record = self.find_folder(ref), self.artifact(ref)
        if record["files"] and folder != self.folder(ref) and not self._has_files(ref):
            fix = "`orcac run` pulls what it needs, and `orcac pull STORE SPEC` all nodes of a spec"
            raise StoreError(f"{ref}: its files were not pulled from the upstream", fix=fix)
        with contextlib.nullcontext() if folder == self.folder(ref) else _blame_upstream():
            _check_files(folder, record["files"])
        return folder

    def find_damage(self, ref: str, on_read: Callable[[int], None] = lambda count: None) -> Iterator[Damage]:
        """Yield everything that is wrong with an artifact, calling `on_read` with the bytes of each read.

        Raises StoreError if the artifact is not made, or may not be read.
        """
        if self.upstream and self.is_upstream(ref) and (links := [*_find_links(self.upstream / ref)]):
            yield from links
            return
        try:
            record = self.artifact(ref)
        except StoreError:
            if not self.has_record(ref):
                raise
            if links := [*_find_links(self.folder(ref), skip=_NOT_FILES)]:
                yield from links
                return
            yield Damage(self.marker(ref), "the record is damaged")
            return
        marker, twin = self.marker(ref), self.marker(ref).with_name("complete.json")
        if is_plain(marker) and is_plain(twin) and marker.read_bytes() != twin.read_bytes():
            wrong = twin if has_digest(marker) else marker
            yield Damage(wrong, "the record is damaged (artifact.json and complete.json differ)")
        yield from _damaged_files(self.find_folder(ref), record["files"], on_read)

    def drop(self, ref: str) -> None:
        """Remove the files and the record of an artifact whose lease is held; the next try goes on from `work/`.

        If the marker alone is damaged, only the marker goes: the next try checks the twin and puts the marker back.
        """
        marker = self.folder(ref) / "artifact.json"
        twin = marker.with_name("complete.json")
        refuse_link(marker, self.root)
        with disk_errors(marker.parent):
            marker_alone = marker.is_file() and not _is_record(marker) and _is_sound(twin)
            marker.unlink(missing_ok=True)
            if marker_alone:
                return
            twin.unlink(missing_ok=True)
            for path in marker.parent.iterdir():
                if path.name in _NOT_FILES:  # not part of the artifact
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def mend_record(self, ref: str) -> bool:
        """Replace a damaged record by its sound twin, if all files are sound, and return whether it was replaced.

        The lease of the artifact is held.
        """
        records = [self.folder(ref) / name for name in ("artifact.json", "complete.json")]
        refuse_link(records[0], self.root)
        for sound, other in (records, records[::-1]):
            if has_digest(sound) and _is_sound(sound):
                durable.write(other, sound.read_bytes())
                return True
        return False

    def seal(self, ref: str) -> None:
        """Give the records of a sound artifact, which an older orcac wrote without a digest, one. Its lease is held."""
        record, marker = self.artifact(ref), self.folder(ref) / "artifact.json"
        for path in (marker.with_name("complete.json"), marker):
            if is_plain(path):
                facts = path.stat()
                _write(path, record)
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # Snakemake compares times

    def republish(self, ref: str) -> bool:
        """Put the marker back if the twin and all its files are sound, and return whether they are."""
        folder = self.folder(ref)
        try:
            record = read_record(folder / "complete.json")
            _check_files(folder, record["files"])
        except StoreError:
            return False
        _write(folder / "artifact.json", record)
        return True

    def publish(self, ref: str, out: Path, record: Mapping[str, object]) -> None:
        """Move the files under `out` into the artifact's folder and write its record, the marker last.

        `record` gains `files`: name -> {sha256, bytes}. Raises StoreError if the disk is full, or if another run took
        the lease meanwhile.
        """
        folder = self.folder(ref)
        self._check_lease(ref)
        with disk_errors(folder):
            files: dict[str, FileFacts] = {}
            for path in sorted(path for path in out.rglob("*") if path.is_file()):
                name = path.relative_to(out).as_posix()
                files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
                _move(path, folder / name)
            record = {**record, "files": files}
            _write(folder / "complete.json", record)
            _write(folder / "artifact.json", record)
        self._clear_tries(ref)

    def adopt(self, ref: str, staged: Path, content: bytes) -> None:
        """Publish an artifact of another store: its files, which are under `staged` and were checked, and its record.

        content: the bytes of its `artifact.json`. Raises StoreError as `publish`.
        """
        folder = self.folder(ref)
        self._check_lease(ref)
        with disk_errors(folder):
            for name in parse_record(content)["files"]:
                _move(staged / name, folder / name)
            durable.write(folder / "complete.json", content)
            durable.write(folder / "artifact.json", content)
        self._clear_tries(ref)

    def _clear_tries(self, ref: str) -> None:
        """Remove the leftovers of the tries to make a node that is made now."""
        shutil.rmtree(self.folder(ref) / "work", ignore_errors=True)
        self.clear_error(ref)
        (self.folder(ref) / "tries.json").unlink(missing_ok=True)

    def _check_lease(self, ref: str) -> None:
        """Raise StoreError if this process lost the node's lease, or if there is a link in the node's folder."""
        refuse_links(self.folder(ref), skip=_WORKING)
        if not owns_lease(self.folder(ref)):
            fix = "nothing is lost: the other run publishes it, or this one goes on when run again"
            raise StoreError(f"{ref}: another run took it over while this one was suspended", fix=fix)

    def record_error(self, ref: str, message: str, code: int, *, short_of: Cause = "", is_final: bool = False) -> None:
        """Write the reason why a try failed, for `orcac run`, `orcac status` and the next try (tries.py)."""
        with contextlib.suppress(OSError):
            record = {"message": message, "exit_code": code, "run": os.environ.get(RUN, "")}
            record |= {"short_of": short_of, "is_final": is_final}
            _write(self.folder(ref) / "error.json", record)

    def clear_error(self, ref: str) -> None:
        """Remove the reason why an earlier try failed."""
        (self.folder(ref) / "error.json").unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raise StoreError if the store cannot be written to."""
        with disk_errors(self.root):
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # a file system that makes no folders
                raise OSError(errno.EPERM, error.strerror) from error
            tempfile.TemporaryFile(dir=self.root).close()

    @contextlib.contextmanager
    def lease(self, ref: str, report: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Hold the node's lease, waiting for the process that holds it now; `report` gets a line about the wait.

        Raises StoreError if there is a link on the way to the folder, or in it. Links in its `work` are removed.
        """
        folder = self.folder(ref)
        refuse_link(folder / "work", self.root)
        with acquire(folder, on_wait=lambda holder: report(f"{ref} is being made by {holder}; waiting")):
            refuse_links(folder, skip=_WORKING)
            remove_links(folder / "work")
            yield


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raise StoreError, naming the folder, if the disk turns out to be full or read-only. Other errors pass."""
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


def is_ref(text: str) -> bool:
    """Return whether a text has the form of a node's name, KIND/ID."""
    return _REF.fullmatch(text) is not None


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of an artifact, its `artifact.json`.

    Raises StoreError if it is missing, damaged or a link, or names a file outside the artifact's folder.
    """
    refuse_irregular(path)
    try:
        return parse_record(durable.retry_stale(path.read_bytes))
    except FileNotFoundError:
        raise StoreError(f"{path}: not made yet", fix="run the plan, or make this node first") from None
    except ValueError:
        raise StoreError(f"{path}: the record is damaged", fix=_repair_hint(path.parent)) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})", fix="mend its disk or permissions") from None


def parse_record(content: bytes) -> dict[str, Any]:
    """Return the record of an artifact from the bytes of its `artifact.json`.

    Raises ValueError if they are damaged, or name a file outside the artifact's folder.
    """
    try:
        record: dict[str, Any] = json.loads(content.decode("utf-8"))
        if stated := record.pop(_DIGEST, None):
            text, _, end = content.rpartition(_BEFORE_DIGEST)
            if end != f'"{stated}"\n}}\n'.encode() or hashlib.sha256(text).hexdigest() != stated:
                raise ValueError("it has changed since it was written")
        for name, facts in record["files"].items():
            if not is_inside(name) or name.split("/")[0] in _NOT_FILES:
                raise ValueError("it names a file outside the folder, or one that is not the artifact's")
            if not (facts["bytes"] >= 0 and re.fullmatch("[0-9a-f]{64}", facts["sha256"])):
                raise ValueError("it has no size or digest of a file")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not a record of an artifact") from None
    return record


def has_digest(path: Path) -> bool:
    """Return whether there is a record at `path` that matches its own digest; older ones have none."""
    try:
        return _BEFORE_DIGEST in path.read_bytes() and _is_record(path)
    except OSError:
        return False


def _is_record(path: Path) -> bool:
    try:
        read_record(path)
    except StoreError:
        return False
    return True


def _is_sound(path: Path) -> bool:
    """Return whether there is a record at `path`, and all files that it names are as it says."""
    return _is_record(path) and not any(_damaged_files(path.parent, read_record(path)["files"]))


def _find_links(folder: Path, *, skip: Collection[str] = ()) -> Iterator[Damage]:
    for path in find_links(folder, skip=skip):
        yield Damage(path, "the artifact holds a link, a device or a pipe, which is not followed")


@contextlib.contextmanager
def _blame_upstream() -> Iterator[None]:
    """Replace the fix of a StoreError: an artifact of an upstream is repaired by its owner."""
    try:
        yield
    except StoreError as error:
        fix = "have it repaired in the upstream, or remove `upstream` from orcac.toml and run again"
        raise StoreError(error.message, fix=fix) from None


def _check_files(folder: Path, files: Mapping[str, FileFacts]) -> None:
    for damage in _damaged_files(folder, files):
        raise StoreError(str(damage), fix=_repair_hint(folder))


def _repair_hint(folder: Path) -> str:
    ref = f"{folder.parent.name}/{folder.name}"
    return f"`orcac verify {ref} --repair`, then run again: a run that needs the artifact remakes it"


def _damaged_files(
    folder: Path, files: Mapping[str, FileFacts], on_read: Callable[[int], None] = lambda count: None
) -> Iterator[Damage]:
    for name, facts in files.items():
        path = folder / name
        try:
            if not path.is_file():
                yield Damage(path, "the file is missing from its artifact")
            elif path.stat().st_size != facts["bytes"]:
                yield Damage(path, "the file is damaged (its size is not the recorded one)")
            elif file_digest(path, on_read) != facts["sha256"]:
                yield Damage(path, "the file is damaged (its digest is not the recorded one)")
        except OSError as error:
            if error.errno != errno.EIO:
                fix = "mend its disk or permissions"
                raise StoreError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
            yield Damage(path, "the file is damaged (its disk cannot read it)")


def _move(path: Path, to: Path) -> None:
    """Move a finished file to its place in an artifact, where others may read it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    durable.share(path)  # some writers make their files private, and a store is shared
    durable.move(path, to)


def _write(path: Path, record: Mapping[str, object]) -> None:
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).encode().removesuffix(b"\n}")
    durable.write(path, text + _BEFORE_DIGEST + f'"{hashlib.sha256(text).hexdigest()}"\n}}\n'.encode())
