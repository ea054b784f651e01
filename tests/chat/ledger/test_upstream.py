"""Tests of orcac/chat/ledger/upstream.py: answers of another store are copied, and that store is only read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import answer_to, request, seal_old, write

from orcac.chat.ledger import upstream
from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import RecordId, forget
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.record import line_of
from orcac.errors import StoreError

CAP = request("a").sampling.max_tokens


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """The folder of the upstream's ledger, with some answers, which the test may not change."""
    folder = tmp_path / "lab"
    write(folder, ("a", "from the lab"), ("b", "from the lab"))
    yield folder
    if folder.exists():
        folder.chmod(0o755)


def lock(folder: Path) -> list[tuple[str, int, int, int]]:
    """Make a folder read-only, and return (name, mode, size, time of change) of everything in it."""
    folder.chmod(0o555)
    found = [(path, path.lstat()) for path in sorted([folder, *folder.rglob("*")])]
    return [(str(path), facts.st_mode, facts.st_size, facts.st_mtime_ns) for path, facts in found]


def adopt(mine: Path, lab: Path, *questions: str, cap: int = CAP) -> upstream.Adopted:
    wanted = pack_keys(request(question).key for question in questions)
    return asyncio.run(upstream.adopt(mine, lab, wanted, cap))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_the_answers_that_are_wanted_and_missing_are_copied_with_their_times(
    mine: Path, lab: Path, is_sealed: bool
) -> None:
    write(mine, ("b", "my own"))
    if is_sealed:
        seal_old(lab)
    before = lock(lab)
    assert adopt(mine, lab, "a", "b", "c") == (1, 0)
    assert adopt(mine, lab, "a", "b", "c") == (0, 0)  # it is there now
    assert lock(lab) == before
    theirs = {record["key"]: record["at"] for record in read_records(lab)}
    copied = next(record for record in read_records(mine) if record["key"] == request("a").key)
    assert copied["at"] == theirs[request("a").key]
    lab.chmod(0o755)
    shutil.rmtree(lab)
    assert [answer_to(mine, question) for question in "abc"] == ["from the lab", "my own", None]


def test_an_answer_that_serves_another_cap_alone_stays_where_it_is(mine: Path, lab: Path) -> None:
    assert adopt(mine, lab, "a", cap=0) == (0, 0)
    assert not mine.exists()


@pytest.mark.parametrize("is_forgotten_in", ["mine", "lab"])
def test_an_answer_that_either_side_has_forgotten_is_not_used(mine: Path, lab: Path, is_forgotten_in: str) -> None:
    first = next(record for record in read_records(lab) if record["key"] == request("a").key)
    if is_forgotten_in == "mine":
        assert adopt(mine, lab, "a").copied == 1
    forget(mine if is_forgotten_in == "mine" else lab, [RecordId(first["key"], first["at"])])
    assert adopt(mine, lab, "a", "b") == (1, 0)
    assert (answer_to(mine, "a"), answer_to(mine, "b")) == (None, "from the lab")


def test_a_record_with_the_key_of_another_request_is_refused(mine: Path, lab: Path) -> None:
    (record,) = [record for record in read_records(lab) if record["key"] == request("a").key]
    record["key"] = request("c").key
    (lab / "forged.jsonl").write_bytes(line_of(record))
    assert adopt(mine, lab, "a", "c") == (1, 1)
    assert answer_to(mine, "c") is None


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_that_is_not_a_regular_one_is_an_error(mine: Path, lab: Path, kind: str) -> None:
    """Reading a pipe would wait for ever."""
    path = lab / "other.jsonl"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(mine / "elsewhere.jsonl")
    with pytest.raises(StoreError, match=r"other\.jsonl: is not a regular file") as caught:
        adopt(mine, lab, "a")
    assert "remove `upstream` from orcac.toml" in caught.value.fix


@pytest.mark.parametrize("content", ["not JSON\n", "no table"])
def test_a_damaged_file_is_an_error_whose_fix_changes_nothing_there(mine: Path, lab: Path, content: str) -> None:
    name = "other.jsonl" if content.endswith("\n") else "other.parquet"
    (lab / name).write_text(content)
    with pytest.raises(StoreError, match=name) as caught:
        adopt(mine, lab, "a")
    assert "delete" not in caught.value.fix and "upstream" in caught.value.fix


def test_a_line_that_is_no_record_is_left_out(mine: Path, lab: Path) -> None:
    (lab / "other.jsonl").write_text(json.dumps({"key": request("c").key}) + "\n")
    assert adopt(mine, lab, "a", "c") == (1, 0)
