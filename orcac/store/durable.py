"""Durable writes: files and folders that appear whole or not at all, and survive a power cut.

The order is always the same: write beside, sync, rename, sync the folder. Without the first sync a crash can leave an
empty file under the final name; without the second it can lose the rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from orcac.errors import InputError

T = TypeVar("T")
_STALE_TRIES = 5


def retry_stale(read: Callable[[], T]) -> T:
    """Return the result of `read`, which opens and reads a file, trying it again if another host replaces that file.

    A file system such as NFS reports ESTALE, once for each replacement. Raises OSError.
    """
    for _ in range(_STALE_TRIES - 1):
        try:
            return read()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return read()


def share(path: Path) -> None:
    """Give a file or folder that a library made private the permissions of a new one: those that the umask leaves.

    A folder keeps its set-group-ID bit, by which the files of a shared store belong to the group.
    """
    mode = path.stat().st_mode
    usual = 0o777 if stat.S_ISDIR(mode) else 0o666
    path.chmod((usual & ~_read_umask()) | (mode & stat.S_ISGID))


def _read_umask() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    umask = os.umask(0o077)  # not Linux: the only way to read it is to set it
    os.umask(umask)
    return umask


def refresh_listing(folder: Path) -> None:
    """Make the next listing of a folder show the files that other hosts made in it.

    A host may show a listing that is a minute old (NFS), but not after it has made a file there itself.
    """
    with contextlib.suppress(OSError):  # the folder is missing, or may not be written
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def write(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Replace the file `path` by `content`. Raises OSError if it cannot be written, and then leaves `path` as it was.

    Without `sync` the file is still replaced atomically, but may be an older version after a power cut.
    """
    part = part_of(path)
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        move(part, path) if sync else part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text`, unless the file holds it already, and return whether it was written. Make its folder if need be.

    Raises OSError if it cannot be written, or if `path` is a device, a pipe or a folder: a rename would replace
    /dev/null by a file.
    """
    if path.is_file():
        if path.read_bytes() == text.encode():
            return False
    elif path.exists():
        raise OSError(errno.EINVAL, "not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text)
    return True


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield an open file that replaces `path` at the end; after an error it is removed instead."""
    with replacing_by_name(path) as part, part.open("wb") as file:
        yield file


@contextlib.contextmanager
def replacing_by_name(path: Path) -> Iterator[Path]:
    """Yield the path of a file that replaces `path` at the end, for libraries that open files themselves.

    After an error it is removed instead.
    """
    part = part_of(path)
    try:
        yield part
        move(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_of(path: Path) -> Path:
    """Return a path beside `path`, unique to this process, to write the file under until it is whole."""
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def move(part: Path, path: Path) -> None:
    """Sync the finished file `part`, rename it to `path` on the same file system, and sync the folder of `path`."""
    sync_file(part)
    part.replace(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, if its file system and its permissions allow that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be writable and not readable
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # SMB, for one, syncs files and no folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_folder(out: Path, *, needs: int = 0) -> Iterator[Path]:
    """Yield a new folder that becomes `out` at the end; after an error it is removed instead.

    Raises InputError if `out` exists already, or if fewer than `needs` bytes are free.
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: exists already", fix="name a folder that does not exist, or remove this one")
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < needs:
        raise InputError(
            f"{out.parent}: {needs / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free",
            fix="free some space, or name a folder on another disk",
        )
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        yield part
        share(part)
        for path in [*part.rglob("*"), part]:
            if path.is_dir():
                sync_folder(path)
            elif path.is_file():
                sync_file(path)
        part.rename(out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
