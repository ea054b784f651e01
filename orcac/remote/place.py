"""The files of another store, in a folder or at a URL.

Nothing at a place is trusted: no link in a folder is followed, a listing only proposes names, and a reader limits the
bytes that it takes. A URL may hold a password. It goes to the server and is masked in everything that is printed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from orcac.errors import InputError, StoreError
from orcac.kinds import KINDS
from orcac.remote.transfer import Counter
from orcac.store import durable
from orcac.store.lease import try_acquire
from orcac.store.links import refuse_link
from orcac.store.store import disk_errors

__all__ = ["FolderPlace", "Place", "is_url", "open_place", "read", "require_store"]


class Place(Protocol):
    """Another store's files, by their names with slashes. All methods raise EndpointError or StoreError.

    label: its address as it is printed, without a password. can_seek: whether a file can be read from its middle.
    """

    label: str
    can_seek: bool

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none if there is no such folder."""

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, None if it does not exist."""

    def open(self, name: str) -> BinaryIO:
        """Open a file. Raises FileNotFoundError if it does not exist."""

    def put(self, name: str, source: Path | bytes, count: Counter = lambda count: None) -> None:
        """Write a file, which appears whole."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def hold(self, ref: str) -> contextlib.AbstractContextManager[bool]:
        """Keep the jobs of the place's own studies from making a node, and yield whether none makes it now."""

    def errors(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Raise the errors of reading a file as EndpointError or StoreError, but for FileNotFoundError."""


def is_url(text: str) -> bool:
    """Return whether a text is a URL, and not the path of a folder."""
    return "://" in text and not text.startswith("file://")


def open_place(address: str) -> Place:
    """Return the place at a path or a URL. Raises InputError if the address cannot be used.

    Whether it can be reached shows at the first read or write.
    """
    if is_url(address):
        from orcac.remote.url import UrlPlace

        return UrlPlace(address)
    parts = urlsplit(address)
    folder = Path(parts.path if parts.scheme == "file" else address)
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: is not a folder", fix="name a folder, or a URL such as s3://bucket/store")
    return FolderPlace(folder)


def require_store(place: Place) -> None:
    """Raise InputError if a place is not a store: everything would seem to be missing there."""
    if not {*KINDS, "answers"}.intersection(place.names("")):
        fix = "correct its address, or push a store to it"
        raise InputError(f"{place.label}: holds no artifacts and no answers", fix=fix)


def read(place: Place, name: str, limit: int) -> bytes | None:
    """Return the content of a file, None if it does not exist. Raises StoreError if it has more than `limit` bytes."""
    try:
        with place.errors(name), place.open(name) as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return None
    if len(content) > limit:
        raise StoreError(f"{place.label}/{name}: is larger than {limit >> 20} MiB", fix="have its owner repair it")
    return content


class FolderPlace:
    """A store in a folder of this machine, or of a disk that it mounts."""

    can_seek = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.label = str(root)

    def names(self, folder: str) -> list[str]:
        with self.errors(folder):
            path = self._find(folder)
            return sorted(one.name for one in path.iterdir()) if path.is_dir() else []

    def size(self, name: str) -> int | None:
        with self.errors(name):
            path = self._find(name)
            return path.stat().st_size if path.is_file() else None

    def open(self, name: str) -> BinaryIO:
        descriptor = os.open(self._find(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StoreError(f"{self.root / name}: is not a regular file", fix="have its owner remove it")
        return os.fdopen(descriptor, "rb")

    def put(self, name: str, source: Path | bytes, count: Counter = lambda count: None) -> None:
        path = self._find(name)
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with durable.replacing(path) as to:
                if isinstance(source, bytes):
                    to.write(source)
                    return
                with source.open("rb") as file:
                    while chunk := file.read(1 << 20):
                        to.write(chunk)
                        count(len(chunk))

    def remove(self, name: str) -> None:
        with disk_errors(self.root):
            self._find(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def hold(self, ref: str) -> Iterator[bool]:
        folder = self._find(ref)
        with disk_errors(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            with try_acquire(folder) as is_free:
                yield is_free

    @contextlib.contextmanager
    def errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            fix = "mend its disk or permissions"
            raise StoreError(f"{self.root / name}: cannot be read ({error.strerror})", fix=fix) from None

    def _find(self, name: str) -> Path:
        """Return the path of a file. Raises StoreError if a link leads to it."""
        refuse_link(self.root / name, self.root)
        return self.root / name
