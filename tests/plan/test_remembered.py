"""Tests of orcac/plan/remembered.py: a fact holds for one state of one file, on one machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from orcac.plan.remembered import Remembered
from orcac.plan.sources import FileDigests

SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("orcac.plan.remembered._TICK", -1e9)
    path = tmp_path / "big.jsonl"
    path.write_bytes(b"x" * SIZE)
    return path


def digest(path: Path, read: list[Path]) -> str:
    digests = FileDigests(lambda path: read.append(path) or path.read_bytes()[:1].decode(), remembered(path))
    return digests.digest(path)


def remembered(path: Path) -> Remembered:
    return Remembered(path.parent / "cache")


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


def test_a_file_that_has_just_been_written_is_not_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orcac.plan.remembered._TICK", 1e9)
    read: list[Path] = []
    assert [digest(path, read) for _ in range(2)] == ["x"] * 2
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(path: Path) -> None:
    def compute(path: Path) -> str:
        path.write_bytes(b"y" * (SIZE + 1))
        return "x"

    assert FileDigests(compute, remembered(path)).digest(path) == "x"
    assert remembered(path).get(path, "sha256") is None


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
