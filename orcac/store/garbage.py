"""What in the store nothing needs: found, shown, removed.

    artifact    made, and reached by no given spec
    unfinished  a try's leftovers, of a node that no given spec reaches
    work        progress of a node that is done: a kill came between its marker and the clearing up
    stray       half a write, or a lease set aside, that a kill left
    trash       what a killed removal had moved aside

What somebody holds is left alone, and so is what a person put beside the nodes. The ledger of answers is never
touched: it was paid for. A folder is moved into `.trash/` of the store under its lease, which is one step, and only
then removed: a kill leaves whole artifacts and trash, and the next removal takes the trash.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orcac.errors import StoreError
from orcac.store.lease import hold_if_free, is_leased
from orcac.store.store import Store, disk_errors

_TRASH = ".trash"
_STRAY = ("*.part", "lease.*.old")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that can go: a folder or a file at `path`, of so many bytes."""

    what: Literal["artifact", "unfinished", "work", "stray", "trash"]
    ref: str  # the node's KIND/ID; "" of trash
    label: str  # what the node made, for people
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    items: list[Item]
    held: list[str]  # nodes with something that could go, but for somebody making them now


def find(store: Store, reached: Container[str]) -> Found:
    """What can go where `reached` are the nodes (KIND/ID) that are wanted."""
    found = Found([], [])
    trash = store.root / _TRASH
    if trash.is_dir():
        found.items.append(Item(what="trash", ref="", label="", path=trash, bytes=_bytes(trash)))
    for ref in store.refs():
        items = list(_of_node(store, ref, wanted=ref in reached))
        if items and any(is_leased(folder) for folder in _folders(store, ref)):
            found.held.append(ref)
        else:
            found.items.extend(items)
    return found


def remove(store: Store, item: Item) -> bool:
    """Remove it; False where somebody began to make its node meanwhile, or it is gone. Raises StoreError."""
    with disk_errors(item.path), contextlib.ExitStack() as leases:
        if item.ref and not all(leases.enter_context(hold_if_free(folder)) for folder in _folders(store, item.ref)):
            return False
        aside = item.path
        if item.what != "trash":
            aside = store.root / _TRASH / uuid.uuid4().hex
            aside.parent.mkdir(exist_ok=True)
            try:
                item.path.rename(aside)
            except FileNotFoundError:
                return False
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
    if aside.exists():
        raise StoreError(f"{aside}: could not be removed whole", fix="mend its permissions and run gc again")
    with contextlib.suppress(OSError):  # another removal is at work in it, or it was the trash
        (store.root / _TRASH).rmdir()
    return True


def _of_node(store: Store, ref: str, *, wanted: bool) -> Iterator[Item]:
    label = _label(store, ref)
    if not wanted:
        what: Literal["artifact", "unfinished"] = "artifact" if store.has_record(ref) else "unfinished"
        folder = store.folder(ref)
        yield Item(what=what, ref=ref, label=label, path=folder, bytes=_bytes(folder))
        return
    for folder in _folders(store, ref):
        if store.is_done(ref) and (folder / "work").is_dir():
            yield Item(what="work", ref=ref, label=label, path=folder / "work", bytes=_bytes(folder / "work"))
        for pattern in _STRAY:
            for path in sorted(folder.glob(pattern)):
                yield Item(what="stray", ref=ref, label=label, path=path, bytes=_bytes(path))


def _folders(store: Store, ref: str) -> list[Path]:
    """The node's folder and its shards': each has a lease of its own."""
    folder = store.folder(ref)
    return [folder, *sorted(path for path in folder.glob("shards/*/") if path.is_dir())]


def _label(store: Store, ref: str) -> str:
    try:
        return str(store.artifact(ref).get("label", ""))
    except StoreError:
        return ""


def _bytes(path: Path) -> int:
    """Of a file, or of all files under a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for file in [path, *path.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size if not file.is_dir() or file.is_symlink() else 0
    return total
