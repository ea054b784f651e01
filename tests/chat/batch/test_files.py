"""Tests of orcac/chat/batch/files.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_runs import (
    collect,
)
from faults import FaultServer
from faults.batches import Batches
from jobs import write_prompts

from orcac.errors import StoreError


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_prompts(tmp_path, 2)
    folder = tmp_path / "answers" / "batches" / "x"
    folder.mkdir(parents=True)
    (folder / "batch.json").write_text('{"id": 1}')
    with FaultServer(mount=Batches().mount) as server, pytest.raises(StoreError, match=r"batch\.json: the record is"):
        collect(tmp_path, server)
