"""Garbage in the store: files that no given spec needs, listed and removed.

    artifact    an artifact that no given spec reaches
    unfinished  the leftovers of a try at a node that no given spec reaches
    work        the progress of a finished node, left by a kill between its marker and the removal of its progress
    stray       a file that a kill left behind: half a write, or a lease that was set aside
    trash       folders that a killed removal had moved aside

Leased nodes are left alone, and so are files that a person put beside the nodes. The ledger of answers is never
touched: its answers were paid for. A folder is first moved into the store's `.trash/` under its lease, in one step, and
then removed. So a kill leaves only whole artifacts and trash, and the next removal takes the trash. Nothing is removed
through a link: a link in the place of a node's folder is no node, and one inside a node goes itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

from orcac.errors import StoreError
from orcac.store.lease import is_leased, try_acquire
from orcac.store.links import refuse_link
from orcac.store.store import Store, disk_errors

_TRASH = ".trash"
_STRAY = ("*.part", "lease.*.old", "lease.json.*")

Category = Literal["artifact", "unfinished", "work", "stray", "trash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A folder or file that can be removed as a whole."""

    category: Category
    ref: str  # the node's KIND/ID; "" for trash
    label: str  # the node's label, for people
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """The garbage of a store, and the nodes that have some but are being made now."""

    items: list[Item]
    in_use: list[str]  # KIND/ID


def find(store: Store, reached: Container[str]) -> Garbage:
    """Return the garbage of a store, given the nodes (KIND/ID) that specs reach."""
    found = Garbage([], [])
    trash = store.root / _TRASH
    if trash.is_dir() and not trash.is_symlink():
        found.items.append(Item(category="trash", ref="", label="", path=trash, bytes=_count_bytes(trash)))
    for ref in store.refs():
        items = list(_find_in_node(store, ref, wanted=ref in reached))
        if items and any(is_leased(folder) for folder in _folders(store, ref)):
            found.in_use.append(ref)
        else:
            found.items.extend(items)
    return found


def find_made_from(store: Store, refs: Collection[str], planned: Mapping[str, Collection[str]]) -> list[Item]:
    """Return the folders of these nodes (KIND/ID) and of all that are made from them, so that none needs a later one.

    planned: node -> the nodes that it needs, as a plan has it: the store does not record those of an unfinished node
    """
    begun = set(store.refs())
    needs = {ref: {*planned.get(ref, ()), *_read_needs(store, ref)} for ref in begun | planned.keys()}
    found = set(refs)
    while more := {ref for ref, of_ref in needs.items() if ref not in found and of_ref & found}:
        found |= more
    order = [*TopologicalSorter({ref: needs.get(ref, set()) & found for ref in sorted(found)}).static_order()]
    return [item for ref in reversed(order) if ref in begun for item in _find_in_node(store, ref, wanted=False)]


def remove(store: Store, item: Item) -> bool:
    """Remove an item and return whether it was removed: False if it is gone, or if its node is being made now.

    Raises StoreError if it cannot be removed.
    """
    with disk_errors(item.path), contextlib.ExitStack() as leases:
        if item.ref and not all(leases.enter_context(try_acquire(folder)) for folder in _folders(store, item.ref)):
            return False
        aside = item.path
        refuse_link(item.path.parent, store.root)
        refuse_link(store.root / _TRASH, store.root)
        if item.category != "trash":
            aside = store.root / _TRASH / uuid.uuid4().hex
            aside.parent.mkdir(exist_ok=True)
            try:
                item.path.rename(aside)
            except FileNotFoundError:
                return False
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
    if os.path.lexists(aside):
        raise StoreError(f"{aside}: could not be removed whole", fix="mend its permissions and run gc again")
    with contextlib.suppress(OSError):  # another removal uses the trash, or the trash itself was removed
        (store.root / _TRASH).rmdir()
    return True


def _find_in_node(store: Store, ref: str, *, wanted: bool) -> Iterator[Item]:
    """Yield the garbage of one node: the whole folder if the node is not wanted, else the leftovers in it."""
    label = _read_label(store, ref)
    if not wanted:
        category: Category = "artifact" if store.has_record(ref) else "unfinished"
        folder = store.folder(ref)
        yield Item(category=category, ref=ref, label=label, path=folder, bytes=_count_bytes(folder))
        return
    for folder in _folders(store, ref):
        if store.is_done(ref) and (folder / "work").is_dir():
            yield Item(category="work", ref=ref, label=label, path=folder / "work", bytes=_count_bytes(folder / "work"))
        for pattern in _STRAY:
            for path in sorted(folder.glob(pattern)):
                yield Item(category="stray", ref=ref, label=label, path=path, bytes=_count_bytes(path))


def _folders(store: Store, ref: str) -> list[Path]:
    """Return the node's folder and those of its shards: each has its own lease."""
    folder = store.folder(ref)
    shards = [] if (folder / "shards").is_symlink() else folder.glob("shards/*/")
    return [folder, *sorted(path for path in shards if path.is_dir() and not path.is_symlink())]


def _read_needs(store: Store, ref: str) -> list[str]:
    """Return the inputs (KIND/ID) of an artifact; none if the node is unfinished or its record is damaged."""
    if not store.has_record(ref):
        return []
    try:
        return [need for needs in store.artifact(ref)["inputs"].values() for need in needs]
    except (StoreError, KeyError, AttributeError, TypeError):
        return []


def _read_label(store: Store, ref: str) -> str:
    try:
        return str(store.artifact(ref).get("label", ""))
    except StoreError:
        return ""


def _count_bytes(path: Path) -> int:
    """Return the size of a file, or of all files under a folder. A file that vanishes meanwhile counts as 0."""
    total = 0
    for file in [path, *path.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size if not file.is_dir() or file.is_symlink() else 0
    return total
