"""Tests of orcac/chat/ledger/following.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import question_of, request, seal_old, write

from orcac.chat.ledger.following import Follower
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import line_of, record_of
from orcac.chat.messages import ChatResponse


def follow(folder: Path, *steps: Callable[[], object]) -> list[str]:
    """Return the questions of the records read before the first of `steps` and after each."""
    following = Follower(folder)
    found = list(following.read_new())
    for step in steps:
        step()
        found += following.read_new()
    return [question_of(record) for record in found]


def test_records_sealed_between_two_reads_are_followed(tmp_path: Path) -> None:
    """A reader may pause for long: a log is begun, grows and is sealed, and that file is merged into a larger one."""

    def write_and_seal(*questions: str) -> None:
        for question in questions:
            write(tmp_path, (question, "x"))
            seal_old(tmp_path)

    def grow() -> None:
        with next(tmp_path.glob("*.jsonl")).open("ab") as log:
            log.write(line_of(record_of(request("grown"), ChatResponse(text="x"))))
        write_and_seal()
        write_and_seal("new")

    write_and_seal("before")
    write(tmp_path, ("old", "x"))
    write(tmp_path, ("also old", "x"))
    found = follow(
        tmp_path,
        grow,
        lambda: write_and_seal("1", "2", "3"),
        lambda: write(tmp_path, ("4", "x")),
        lambda: seal_old(tmp_path),
        lambda: write(tmp_path, ("5", "x")),
    )
    assert found == ["grown", "new", "1", "2", "3", "4", "5"]


def test_records_written_again_by_a_writer_taken_for_dead_are_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            following = Follower(tmp_path)
            pending = ledger.append(request("b"), ChatResponse(text="2"))
            found = list(following.read_new())
            seal_old(tmp_path)
            found += following.read_new()
            await pending
            await ledger.append(request("c"), ChatResponse(text="3"))
            found += following.read_new()
            assert [question_of(record) for record in found] == ["b", "c"]

    asyncio.run(go())
    assert len(list(tmp_path.glob("*.jsonl"))) == 1, "it has begun another log"
