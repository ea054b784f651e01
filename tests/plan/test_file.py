"""Tests of orcac/plan/file.py: the copies of plans that runs read."""

from __future__ import annotations

import os
import time
from pathlib import Path

from orcac.plan.file import keep_copy, release_copy


def list_copies(folder: Path) -> list[str]:
    return sorted(path.read_text() for path in folder.glob("plan-*.json"))


def test_a_copy_is_deleted_when_the_last_run_that_reads_it_ends(tmp_path: Path) -> None:
    first, second, other = (keep_copy(text, tmp_path) for text in ("plan", "plan", "other plan"))
    assert first.path == second.path != other.path
    release_copy(first)
    assert list_copies(tmp_path) == ["other plan", "plan"]
    release_copy(second)
    assert list_copies(tmp_path) == ["other plan"]
    assert keep_copy("plan", tmp_path).path.read_text() == "plan"


def test_a_copy_that_a_killed_run_left_is_deleted_after_a_month(tmp_path: Path) -> None:
    left, used, new = (keep_copy(text, tmp_path) for text in ("left", "used", "new"))
    left.lock.close()
    for copy in (left, used):
        os.utime(copy.path, (0, time.time() - 31 * 86_400))
    release_copy(new)
    assert list_copies(tmp_path) == ["used"]
