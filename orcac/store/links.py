"""Names and links that could lead out of a store's folders.

A store may be shared, copied from elsewhere or unpacked from an archive, so everything in it is untrusted. Below its
own folder no symbolic link is followed: one that is found where a node works is refused, before anything is written or
removed through it. Links to the files of a model are the exception. A job makes them inside its `work`, so a killed job
may leave some; the next try removes the links themselves.

The checks hold against links that are there before a command starts. They do not hold against another user who may
write to the node's folder and swaps a folder for a link while the command runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from orcac.errors import StoreError

__all__ = ["find_links", "is_inside", "is_plain", "refuse_irregular", "refuse_link", "refuse_links", "remove_links"]


def is_inside(name: str) -> bool:
    """Return whether a name with slashes stays inside its folder and is printable."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def is_plain(path: Path | str) -> bool:
    """Return whether there is a regular file at `path`, not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def refuse_link(path: Path, root: Path) -> None:
    """Raise StoreError if `path`, or a folder between `root` and it, is a symbolic link. `root` itself may be one."""
    for part in (path, *path.parents):
        if part == root:
            return
        if part.is_symlink():
            raise StoreError(f"{part}: is a link, and links in a store are not followed", fix="remove the link")


def refuse_irregular(path: Path) -> None:
    """Raise StoreError if `path` is a link, a device, a pipe or a folder. A missing file passes."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: is not a regular file, and links in a store are not followed", fix="remove it")


def refuse_links(folder: Path, *, skip: Collection[str] = ()) -> None:
    """Raise StoreError if a folder is a link, or holds a link, a device or a pipe, outside its subfolders `skip`."""
    refuse_link(folder, folder.parent)
    for path in find_links(folder, skip=skip):
        refuse_irregular(path)


def find_links(folder: Path, *, skip: Collection[str] = ()) -> Iterator[Path]:
    """Yield the links, devices and pipes in a folder, at any depth, except in its subfolders named `skip`."""
    try:
        entries = [*os.scandir(folder)]
    except OSError:  # it vanished meanwhile, or may not be read
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in skip:
                yield from find_links(Path(entry.path))
        elif not entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def remove_links(folder: Path) -> None:
    """Remove the links, devices and pipes in a folder, at any depth, and nothing that they lead to."""
    for path in [*find_links(folder)]:
        path.unlink(missing_ok=True)
