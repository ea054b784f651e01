"""Tests of orcac/chat/batch/files.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.chat.batch.files import Batch, live_ids, read_batches, read_unanswered, write_record, write_unanswered
from orcac.chat.ledger.keys import pack_keys
from orcac.errors import StoreError


def write_batch(answers: Path, id: str, **fields: object) -> Batch:
    values = {"base_url": None, "api_key_env": "K", "model": "m", "requests": 1, "tokens": 1, "usd_bound": 0.5} | fields
    batch = Batch(id=id, **values)
    folder = answers / "batches" / id
    folder.mkdir(parents=True)
    write_record(folder, batch)
    return batch


def test_records_are_read_as_written_the_oldest_first(tmp_path: Path) -> None:
    azure = {"api_version": "2024-10-21", "deployment": "mine"}
    late = write_batch(tmp_path, "a", planned_at=2.0, settled=True)
    early = write_batch(tmp_path, "b", planned_at=1.0, azure=azure, provider_id="batch_1")
    assert read_batches(tmp_path) == [early, late] and live_ids(tmp_path) == ["b"]
    assert (early.title, early.path) == ("batch b (batch_1)", "/chat/completions")
    assert (late.title, late.path) == ("batch a", "/v1/chat/completions")
    assert early.settings.azure and early.settings.azure.deployment == "mine"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "batches" / "x"
    folder.mkdir(parents=True)
    (folder / "batch.json").write_text('{"id": 1}')
    with pytest.raises(StoreError, match=r"batch\.json: the record is damaged"):
        read_batches(tmp_path)


def test_unanswered_keys_are_read_as_written(tmp_path: Path) -> None:
    assert len(read_unanswered(tmp_path)) == 0
    keys = ["ff" * 16, "ab" * 15 + "00"]
    write_unanswered(tmp_path, keys)
    assert (read_unanswered(tmp_path) == pack_keys(keys)).all()


def test_unanswered_keys_are_replaced_whole(tmp_path: Path) -> None:
    """A kill in the middle of a write would leave some of the keys."""
    write_unanswered(tmp_path, ["ff" * 16])
    (tmp_path / "before").hardlink_to(tmp_path / "left")
    content = (tmp_path / "left").read_bytes()
    write_unanswered(tmp_path, ["ab" * 16])
    assert (tmp_path / "before").read_bytes() == content
