"""Tests of orcac/store/durable.py: a file is replaced whole or not at all, and is synced before it is renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.store import durable


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The syncs and renames so far: "sync file", "sync folder" or "rename"."""
    seen: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        seen.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    return seen


def test_a_file_is_synced_renamed_and_its_folder_synced(tmp_path: Path, calls: list[str]) -> None:
    durable.write(tmp_path / "a", "é")
    assert (tmp_path / "a").read_bytes() == "é".encode()
    assert calls == ["sync file", "rename", "sync folder"]
    durable.write(tmp_path / "a", b"b", sync=False)
    assert (tmp_path / "a").read_bytes() == b"b" and calls[3:] == ["rename"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        durable.write(tmp_path / "a", "new")
    with pytest.raises(OSError), durable.replacing(tmp_path / "a") as file:
        file.write(b"new")
    with pytest.raises(KeyboardInterrupt), durable.replacing_by_name(tmp_path / "a") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


@pytest.mark.parametrize("cannot", ["open", "sync"])
def test_a_folder_that_cannot_be_synced_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cannot: str
) -> None:
    open_, sync = os.open, os.fsync

    def opened(path: Path, *arguments: int, **options: int) -> int:
        if cannot == "open" and path == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_(path, *arguments, **options)

    def fsync(descriptor: int) -> None:
        if cannot == "sync" and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", fsync)
    durable.write(tmp_path / "a", "x")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "x")]


def test_a_file_that_holds_the_text_already_is_not_written(tmp_path: Path, calls: list[str]) -> None:
    path = tmp_path / "new" / "a"
    assert durable.write_if_changed(path, "x") and not durable.write_if_changed(path, "x")
    assert calls == ["sync file", "rename", "sync folder"]
    assert durable.write_if_changed(path, "y") and path.read_text() == "y"
    with pytest.raises(OSError, match="not a file"):
        durable.write_if_changed(Path(os.devnull), "x")


def test_all_of_a_new_folder_is_synced(tmp_path: Path, calls: list[str]) -> None:
    with durable.new_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("x")
    assert sorted(calls) == ["sync file", "sync folder", "sync folder", "sync folder"]  # of deep, out and its parent


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt), durable.new_folder(out) as folder:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in out.parent.iterdir()] == []
    with durable.new_folder(out) as folder:
        (folder / "a").write_text("whole")
        assert not out.exists()
    assert (out / "a").read_text() == "whole" and [path.name for path in out.parent.iterdir()] == ["out"]
    with pytest.raises(InputError, match="exists already"), durable.new_folder(out):
        pass
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(InputError, match="are needed"), durable.new_folder(tmp_path / "other", needs=2):
        pass


def test_a_file_that_another_host_replaces_is_read_again(tmp_path: Path) -> None:
    errors = [OSError(errno.ESTALE, "stale")] * 3

    def read() -> str:
        if errors:
            raise errors.pop()
        return "new"

    assert durable.retry_stale(read) == "new"
    errors = [OSError(errno.EIO, "broken"), OSError(errno.ESTALE, "stale")]
    with pytest.raises(OSError, match="broken"):
        durable.retry_stale(read)
    errors = [OSError(errno.ESTALE, "stale")] * 100
    with pytest.raises(OSError, match="stale"):
        durable.retry_stale(read)


def test_a_listing_is_refreshed_by_a_file_that_is_gone_afterwards(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    os.utime(tmp_path, ns=(before - 10**9, before - 10**9))
    durable.refresh_listing(tmp_path)
    assert tmp_path.stat().st_mtime_ns >= before, "the folder has changed, which a network file system notices"
    assert not list(tmp_path.iterdir())
    durable.refresh_listing(tmp_path / "missing")


@pytest.mark.parametrize(("umask", "folder_mode", "file_mode"), [(0o002, 0o2775, 0o664), (0o027, 0o2750, 0o640)])
def test_what_a_library_made_private_is_shared_as_the_umask_says(
    tmp_path: Path, umask: int, folder_mode: int, file_mode: int
) -> None:
    tmp_path.chmod(0o2775)
    before = os.umask(umask)
    try:
        path = tmp_path / "private"
        path.touch(0o600)
        durable.share(path)
        with durable.new_folder(tmp_path / "folder") as folder:
            (folder / "sub").mkdir()
        assert stat.S_IMODE(path.stat().st_mode) == file_mode
        for made in (tmp_path / "folder", tmp_path / "folder" / "sub"):
            assert stat.S_IMODE(made.stat().st_mode) == folder_mode
        assert durable._read_umask() == umask
    finally:
        os.umask(before)
