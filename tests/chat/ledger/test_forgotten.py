"""Tests of orcac/chat/ledger/forgotten.py: forgotten records settle nothing, in logs and in sealed files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledgers import answer_to, request, seal_old, write

from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import Forgotten, RecordId, forget
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.errors import StoreError


def ids(folder: Path) -> list[RecordId]:
    return sorted((RecordId(one["key"], one["at"]) for one in read_records(folder)), key=lambda id: id.at)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_forgotten_record_settles_nothing_and_a_later_one_of_its_key_does(tmp_path: Path, is_sealed: bool) -> None:
    write(tmp_path, ("a", "old"), ("b", "kept"))
    if is_sealed:
        seal_old(tmp_path)
    forget(tmp_path, [ids(tmp_path)[0]])
    assert answer_to(tmp_path, "a") is None and answer_to(tmp_path, "b") == "kept"
    ledger = Ledger(tmp_path, pack_keys([request("a").key, request("b").key]))  # the index of some keys alone
    assert ledger.get(request("a")) is None and ledger.get(request("b")) is not None
    ledger.close()
    write(tmp_path, ("a", "new"))
    assert answer_to(tmp_path, "a") == "new"
    seal_old(tmp_path)
    assert answer_to(tmp_path, "a") == "new" and len(ids(tmp_path)) == 3
    forget(tmp_path, [ids(tmp_path)[2]])
    assert answer_to(tmp_path, "a") is None


def test_a_ledger_can_be_read_as_if_more_were_forgotten(tmp_path: Path) -> None:
    write(tmp_path, ("a", "old"))
    ledger = Ledger(tmp_path, forgotten=Forgotten(tmp_path, more=ids(tmp_path)))
    assert ledger.get(request("a")) is None and answer_to(tmp_path, "a") == "old"
    ledger.close()


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "ab", "at": 1}', json.dumps({"key": "ab" * 16, "at": "1"})])
def test_a_damaged_file_is_an_error_with_its_place(tmp_path: Path, line: str) -> None:
    write(tmp_path, ("a", "old"))
    forget(tmp_path, ids(tmp_path))
    (path,) = (tmp_path / "forgotten").iterdir()
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(StoreError, match=r"\.jsonl:2: not the key and time of a record"):
        Ledger(tmp_path)
