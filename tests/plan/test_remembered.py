"""Tests of orcac/plan/remembered.py: a fact holds for one state of one file, on one machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.plan.remembered import Remembered
from orcac.plan.sources import FileDigests
from orcac.spec.paths import FileSet
from orcac.store import durable

SIZE = 1 << 20
NEVER, ALWAYS = -1e9, 1e9  # ticks for which a file is never or always too young


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "big.jsonl"
    path.write_bytes(b"x" * SIZE)
    return path


def digest(path: Path, read: list[Path], tick: float = NEVER) -> str:
    digests = FileDigests(lambda path: read.append(path) or path.read_bytes()[:1].decode(), remembered(path, tick))
    return digests.lower(FileSet((path,))).refs[0].sha256


def remembered(path: Path, tick: float = NEVER) -> Remembered:
    return Remembered(path.parent / "cache", tick=tick)


def test_a_digest_is_computed_once_for_a_state_of_the_file(path: Path) -> None:
    read: list[Path] = []
    assert [digest(path, read) for _ in range(3)] == ["x"] * 3
    assert len(read) == 1
    times = path.stat()
    path.write_bytes(b"y" * SIZE)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the time of the content is set back
    assert digest(path, read) == "y" and len(read) == 2
    other = path.with_name("other")
    other.write_bytes(b"z" * SIZE)
    other.replace(path)
    assert digest(path, read) == "z" and len(read) == 3


def test_a_file_that_has_just_been_written_is_not_remembered(path: Path) -> None:
    read: list[Path] = []
    assert [digest(path, read, ALWAYS) for _ in range(2)] == ["x"] * 2
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(path: Path) -> None:
    def compute(path: Path) -> str:
        path.write_bytes(b"y" * (SIZE + 1))
        return "x"

    assert FileDigests(compute, remembered(path)).lower(FileSet((path,))).refs[0].sha256 == "x"
    assert remembered(path).find(path, "sha256", str, lambda path: "again") == "again"


def test_the_age_of_a_file_is_that_before_it_is_read(path: Path) -> None:
    """A slow reading does not make a file old that may have changed in the tick in which it was looked up."""
    clock = [path.stat().st_ctime_ns / 1e9]

    def compute(path: Path) -> str:
        clock[0] += 60
        return "x"

    record = Remembered(path.parent / "cache", clock=lambda: clock[0])
    assert record.find(path, "fact", str, compute) == "x"
    assert record.find(path, "fact", str, lambda path: "again") == "again"
    assert record.find(path, "fact", str, lambda path: "later") == "again"


def test_a_fact_that_cannot_be_found_or_has_another_type_is_computed_again(path: Path) -> None:
    record = remembered(path)
    found = iter([None, False])
    assert [record.find(path, "fact", bool, lambda path: next(found)) for _ in range(3)] == [None, False, False]
    assert record.find(path, "fact", str, lambda path: "text") == "text"


def test_the_record_is_written_once_for_all_files_of_a_source(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.jsonl")
    other.write_bytes(b"y" * SIZE)
    writes: list[object] = []
    monkeypatch.setattr(durable, "write", lambda *args, **kwargs: writes.append(args))
    digests = FileDigests(lambda path: path.name, remembered(path))
    digests.lower(FileSet((path, other)))
    digests.lower(FileSet((path, other)))
    assert len(writes) == 1


def test_an_error_loses_no_fact_found_before_it(path: Path) -> None:
    def compute(path: Path) -> str:
        return path.read_bytes()[:1].decode()

    with pytest.raises(InputError, match="cannot be read"):
        FileDigests(compute, remembered(path)).lower(FileSet((path, path.with_name("gone"))))
    read: list[Path] = []
    assert digest(path, read) == "x" and not read


def test_another_machine_does_not_trust_the_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    digest(path, read)
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    digest(path, read)
    assert len(read) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_record_costs_only_time(path: Path, content: bytes) -> None:
    read: list[Path] = []
    digest(path, read)
    (record,) = (path.parent / "cache").iterdir()
    record.write_bytes(content)
    assert digest(path, read) == "x" and len(read) == 2
    assert str(path) in json.loads(record.read_bytes())


def test_a_cache_that_cannot_be_written_is_ignored(path: Path) -> None:
    (path.parent / "cache").write_text("a file")
    assert digest(path, []) == "x"
