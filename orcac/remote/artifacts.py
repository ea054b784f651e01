"""Pushing artifacts to a place, and pulling them from one.

    KIND/ID/push.part      names the record of the push that goes on; a later push with the same record continues it
    KIND/ID/<files>        the files of the artifact
    KIND/ID/complete.json  its record
    KIND/ID/artifact.json  its record again, written last: without it the artifact does not exist for any reader

Logs, leases, shards and `work` stay where they are. An artifact that a place has is never replaced. A push that was cut
short leaves whole files without a record, and the next one sends the others. Two pushes of one node that was made twice
could mix their files: `push.part` makes the later one send all of its own. A pull would find what is left of that.

A pulled artifact is untrusted. Its record must match its own digest and name the id that its recipe and inputs have,
and its files must have the recorded sizes and digests before any of them gets its place in the store. A part of a file
stays in the node's `work` after a kill, and the next pull goes on behind it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from pydantic import ValidationError

from orcac.digest import file_digest
from orcac.errors import StoreError
from orcac.kinds import KINDS
from orcac.plan.node import IDENTITY, NodeContent, content_id
from orcac.progress import print_line
from orcac.remote.place import Place, read
from orcac.remote.transfer import Counter, each
from orcac.store.store import FileFacts, Store, disk_errors, is_ref, parse_record

__all__ = ["Found", "check_record", "fetch_record", "find_to_pull", "find_to_push", "list_refs", "pull", "push"]

_RECORD_BYTES = 16 << 20  # a record has some kilobytes
_FILE_BYTES = 1 << 63
_NAME_BYTES, _PART_BYTES = 1000, 255  # of a file's name, and of a folder's or file's in it
_MARKER, _TWIN, _INTENT = "artifact.json", "complete.json", "push.part"
_FIX = "have it repaired where it is, or leave it out"


@dataclass(slots=True)
class Found:
    """The artifacts to transfer, with their sizes, and the others. All lists hold KIND/IDs."""

    sizes: dict[str, int] = field(default_factory=dict)  # bytes of the files of each artifact to transfer
    present: list[str] = field(default_factory=list)  # at the destination already
    missing: list[str] = field(default_factory=list)  # not made at the source
    refused: dict[str, str] = field(default_factory=dict)  # -> the reason

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


def find_to_push(store: Store, place: Place, refs: Collection[str]) -> Found:
    """Return which of some nodes (KIND/ID) the place lacks. Raises EndpointError if it cannot be reached."""
    made = [ref for ref in refs if store.has_record(ref)]
    found = Found(missing=[ref for ref in refs if ref not in set(made)])
    for ref, size in each(lambda ref: place.size(f"{ref}/{_MARKER}"), made):
        if size is not None:
            found.present.append(ref)
            continue
        try:
            found.sizes[ref] = _count_bytes(store.artifact(ref)["files"])
        except StoreError as error:
            found.refused[ref] = error.message
    return _sort(found)


def push(store: Store, place: Place, refs: Collection[str], count: Counter) -> Iterator[tuple[str, str]]:
    """Push artifacts (KIND/ID) that `find_to_push` returned, and yield each with the reason if it was refused, or "".

    Raises EndpointError if the place cannot be reached, StoreError if it is full.
    """
    yield from each(lambda ref: _reason(partial(_push, store, place, ref, count)), refs)


def _push(store: Store, place: Place, ref: str, count: Counter) -> None:
    folder = store.verify(ref)
    marker = folder / _MARKER
    content = (marker if marker.is_file() else folder / _TWIN).read_bytes()
    files: dict[str, FileFacts] = parse_record(content)["files"]
    intent = hashlib.sha256(content).hexdigest().encode()
    with place.hold(ref) as is_free:
        if not is_free:
            raise StoreError(f"{place.label}/{ref}: is being made there now")
        if place.size(f"{ref}/{_MARKER}") is not None:  # another push was faster
            return
        goes_on = read(place, f"{ref}/{_INTENT}", len(intent)) == intent
        if not goes_on:
            place.put(f"{ref}/{_INTENT}", intent)
        for name, facts in files.items():
            if goes_on and place.size(f"{ref}/{name}") == facts["bytes"]:
                count(facts["bytes"])
            else:
                place.put(f"{ref}/{name}", folder / name, count)
        if read(place, f"{ref}/{_INTENT}", len(intent)) != intent:
            if read(place, f"{ref}/{_MARKER}", _RECORD_BYTES) == content:  # another push of the same files was faster
                return
            raise StoreError(f"{place.label}/{ref}: another push of this node goes on")
        place.put(f"{ref}/{_TWIN}", content)
        place.put(f"{ref}/{_MARKER}", content)
        place.remove(f"{ref}/{_INTENT}")


def list_refs(place: Place) -> list[str]:
    """Return the KIND/ID of every node that the place may have, sorted."""
    kinds = [kind for kind in place.names("") if kind in KINDS]
    return sorted(ref for kind in kinds for name in place.names(kind) if is_ref(ref := f"{kind}/{name}"))


def find_to_pull(store: Store, place: Place, refs: Collection[str]) -> Found:
    """Return which of some nodes (KIND/ID) the place has and the store lacks.

    Raises EndpointError if the place cannot be reached.
    """
    found = Found(present=[ref for ref in refs if store.is_own(ref)])
    own = set(found.present)

    def look(ref: str) -> int | str | None:
        try:
            fetched = fetch_record(place, ref)
        except StoreError as error:
            return error.message
        return _count_bytes(fetched[1]["files"]) if fetched else None

    for ref, seen in each(look, [ref for ref in refs if ref not in own]):
        if seen is None:
            found.missing.append(ref)
        elif isinstance(seen, str):
            found.refused[ref] = seen
        else:
            found.sizes[ref] = seen
    return _sort(found)


def pull(store: Store, place: Place, refs: Collection[str], count: Counter) -> Iterator[tuple[str, str]]:
    """Pull artifacts (KIND/ID) that `find_to_pull` returned, and yield each with the reason if it was refused, or "".

    Raises EndpointError if the place cannot be reached, StoreError if the store is full.
    """
    yield from each(lambda ref: _reason(partial(_pull, store, place, ref, count)), refs)


def _pull(store: Store, place: Place, ref: str, count: Counter) -> None:
    fetched = fetch_record(place, ref)
    if fetched is None:
        raise StoreError(f"{place.label}/{ref}: was removed meanwhile")
    content, record = fetched
    folder = store.folder(ref)
    with disk_errors(folder), store.lease(ref, print_line):
        if store.is_own(ref) or store.republish(ref):
            return
        staged, parts = folder / "work" / "pulled", folder / "work" / "parts"
        for path in (staged, parts):
            path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(staged).free
        if free < _count_bytes(record["files"]):
            raise StoreError(f"{ref}: needs {_count_bytes(record['files']) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
        for name, facts in record["files"].items():
            _download(
                place, f"{ref}/{name}", staged / name, parts / hashlib.sha256(name.encode()).hexdigest(), facts, count
            )
        store.adopt(ref, staged, content)


def _download(place: Place, name: str, path: Path, part: Path, facts: FileFacts, count: Counter) -> None:
    """Write a file of a place to `path`, going on behind the `part` of it that an earlier pull has left.

    Raises StoreError if it is missing, or has another size or digest than recorded.
    """
    if path.is_file() and path.stat().st_size == facts["bytes"] and file_digest(path) == facts["sha256"]:
        count(facts["bytes"])
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = part.stat().st_size if part.is_file() and place.can_seek else 0
    digest, size = hashlib.sha256(), 0
    with part.open("r+b" if begin else "wb") as to:
        while chunk := to.read(1 << 20) if begin else b"":
            digest.update(chunk)
        count(begin)
        try:
            with place.errors(name), place.open(name) as file:
                file.seek(begin) if begin else None
                for chunk in _read_chunks(file, facts["bytes"] + 1 - begin):
                    to.write(chunk)
                    digest.update(chunk)
                    count(len(chunk))
        except FileNotFoundError:
            raise StoreError(f"{place.label}/{name}: is missing", fix=_FIX) from None
        size = to.tell()
    if size == facts["bytes"] and digest.hexdigest() == facts["sha256"]:
        part.replace(path)
        return
    part.unlink()
    if begin:  # the part may be damaged
        count(-size)
        _download(place, name, path, part, facts, count)
        return
    raise StoreError(f"{place.label}/{name}: has another size or digest than its record names", fix=_FIX)


def _read_chunks(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Yield at most `limit` bytes of a file."""
    while limit > 0 and (chunk := file.read(min(1 << 20, limit))):
        limit -= len(chunk)
        yield chunk


def fetch_record(place: Place, ref: str) -> tuple[bytes, dict[str, Any]] | None:
    """Return the record of an artifact at a place, as bytes and parsed; None if the place does not have it.

    Raises StoreError if it is damaged or not that of the artifact, EndpointError if the place cannot be reached.
    """
    content = read(place, f"{ref}/{_MARKER}", _RECORD_BYTES)
    if content is None:
        return None
    try:
        return content, check_record(content, ref)
    except ValueError as error:
        raise StoreError(f"{place.label}/{ref}/{_MARKER}: the record is damaged ({error})", fix=_FIX) from None


def check_record(content: bytes, ref: str) -> dict[str, Any]:
    """Return the record of the artifact `ref` (KIND/ID) from bytes of unknown origin.

    Raises ValueError if it is damaged, or if its recipe and inputs have another id.
    """
    record = parse_record(content)
    _check_files(record["files"])
    try:
        recipe = KINDS[record["kind"]].recipe.model_validate(record["recipe"])
        of_record: NodeContent = {
            "identity": IDENTITY,
            "kind": record["kind"],
            "version": record["version"],
            "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
            "inputs": cast("dict[str, list[str]]", {role: refs for role, refs in record["inputs"].items() if refs}),
        }
        if f"{record['kind']}/{content_id(of_record)}" != ref or record.get("ref", ref) != ref:
            raise ValueError("its recipe and inputs have another id")
    except (ValidationError, KeyError, TypeError, AttributeError):
        raise ValueError("its recipe is not one of this orcac") from None
    return record


def _check_files(files: dict[str, FileFacts]) -> None:
    """Raise ValueError if a disk could not hold files of these names and sizes together."""
    if not all(type(facts["bytes"]) is int and facts["bytes"] < _FILE_BYTES for facts in files.values()):
        raise ValueError("a size is not a whole number, or larger than any file")
    for name in files:
        path = PurePosixPath(name)
        if len(name.encode()) > _NAME_BYTES or any(len(part.encode()) > _PART_BYTES for part in path.parts):
            raise ValueError("the name of a file is too long")
        if any(str(folder) in files for folder in path.parents):
            raise ValueError("it names one path as a file and as a folder")


def _reason(work: Callable[[], None]) -> str:
    """Do the work and return "", or the reason why an artifact was refused. Other errors end the transfer."""
    try:
        work()
    except StoreError as error:
        if isinstance(error.__cause__, OSError):  # the disk is full, or not writable
            raise
        return error.message
    return ""


def _count_bytes(files: dict[str, FileFacts]) -> int:
    return sum(facts["bytes"] for facts in files.values())


def _sort(found: Found) -> Found:
    """Return what was found in a fixed order: it came in that of the answers."""
    found.sizes = dict(sorted(found.sizes.items()))
    found.present.sort()
    found.missing.sort()
    return found
