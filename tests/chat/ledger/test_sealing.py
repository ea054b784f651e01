"""Tests of orcac/chat/ledger/sealing.py."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ledgers import answer_to, question_of, request, seal_old, write
from patience import PATIENCE_S

from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.sealed import SCHEMA
from orcac.chat.messages import ChatResponse


def suffixes(folder: Path) -> list[str]:
    return [path.suffix for path in folder.iterdir() if path.name != "seal.lock"]


def test_dead_logs_are_sealed_and_serve_as_before(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path, *[(f"{n} {m}", f"answer {n} {m}") for m in range(3)])
    torn = sorted(tmp_path.glob("*.jsonl"))[4]
    torn.write_bytes(torn.read_bytes() + b'{"key":"0123')
    before = sorted(read_records(tmp_path), key=lambda record: record["at"])
    opened_before = Ledger(tmp_path)
    seal_old(tmp_path, min_logs=16)
    assert suffixes(tmp_path) == [".parquet"]
    after = sorted(read_records(tmp_path), key=lambda record: record["at"])
    assert json.loads(json.dumps(after)) == json.loads(json.dumps(before))
    for ledger in (opened_before, Ledger(tmp_path), Ledger(tmp_path, wanted=pack_keys([request("7 1").key]))):
        answer = ledger.get(request("7 1"))
        assert answer and answer.text == "answer 7 1" and ledger.get(request("none")) is None
    for n in range(16):  # small sealed files grow together
        write(tmp_path, (f"more {n}", "x"))
    seal_old(tmp_path, min_logs=16)
    assert len(list(tmp_path.glob("*.parquet"))) == 1 and len(list(read_records(tmp_path))) == 76


def test_few_small_logs_are_left_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"))
    seal_old(tmp_path, min_logs=2)
    assert suffixes(tmp_path) == [".jsonl"]


def test_records_of_an_older_key_rule_are_sealed_under_their_present_key(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    (log,) = tmp_path.iterdir()
    old = [json.loads(line) | {"key": 64 * "0", "key_version": 1} for line in log.read_bytes().splitlines()]
    for record in old:
        del record["crc"]
    log.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in old))
    assert answer_to(tmp_path, "a") == "1"
    assert Ledger(tmp_path, wanted=pack_keys([request("b").key])).get(request("b"))
    assert {record["key"] for record in read_records(tmp_path)} == {request("a").key, request("b").key}
    seal_old(tmp_path)
    assert answer_to(tmp_path, "b") == "2"


def test_files_of_before_batches_hold_answers_got_online(tmp_path: Path) -> None:
    write(tmp_path, ("sealed", "1"))
    seal_old(tmp_path)
    (new,) = tmp_path.glob("*.parquet")
    old = new.rename(new.with_stem("0123456789abcdef"))
    pq.write_table(pq.read_table(old).drop_columns(["batched", "omitted", "reasoning", "refusal"]), old)
    write(tmp_path, ("logged", "2"))
    (log,) = tmp_path.glob("*.jsonl")
    log.write_bytes(re.sub(rb',"(batched":false|crc":"\w+")', b"", log.read_bytes()))
    assert SCHEMA.names[-4:-2] == ["batched", "omitted"] and b"batched" not in log.read_bytes()

    async def batch() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("batch"), ChatResponse(text="3", finish_reason="stop", batched=True))

    asyncio.run(batch())
    for _ in range(2):
        ledger = Ledger(tmp_path)
        for question, is_batched in (("sealed", False), ("logged", False), ("batch", True)):
            answer, outcome = ledger.get(request(question)), ledger.get_outcome(request(question))
            assert answer and outcome and answer.batched is outcome.batched is is_batched
        ledger.close()
        assert sum(record["response"]["batched"] for record in read_records(tmp_path)) == 1
        seal_old(tmp_path)
    assert not old.exists(), "it was merged into the next"


def test_omitted_settings_are_kept_through_sealing(tmp_path: Path) -> None:
    response = ChatResponse(text="1", finish_reason="stop", omitted=("temperature", "seed"))

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("fixed"), response)

    asyncio.run(go())
    write(tmp_path, ("free", "2"))
    for _ in range(2):
        ledger = Ledger(tmp_path)
        assert ledger.get(request("fixed")) == response
        assert ledger.get(request("free")).omitted == ()
        ledger.close()
        assert [record.get("omitted") for record in read_records(tmp_path)].count(None) == 1
        seal_old(tmp_path)


def test_reasoning_and_refusals_are_kept_through_sealing_and_marks_are_split_on_reading(tmp_path: Path) -> None:
    responses = {
        "beside": ChatResponse(text="1", reasoning="why", finish_reason="stop"),
        "refused": ChatResponse(refusal="not this", finish_reason="stop"),
        "marked": ChatResponse(text="<think>hm</think>\n2", finish_reason="stop"),
        "open": ChatResponse(text="<think>hm, and", finish_reason="stop"),
        "plain": ChatResponse(text="3", finish_reason="stop"),
    }

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            for question, response in responses.items():
                await ledger.append(request(question), response)

    asyncio.run(go())

    def find_more(question: str) -> ChatResponse | None:
        asked = request(question)
        asked = dataclasses.replace(asked, sampling=asked.sampling.model_copy(update={"max_tokens": 4_000}))
        ledger = Ledger(tmp_path)
        found = ledger.get(asked)
        ledger.close()
        return found

    for _ in range(2):
        ledger = Ledger(tmp_path)
        read = {question: ledger.get(request(question)) for question in responses}
        ledger.close()
        assert all(read[question] == responses[question] for question in ("beside", "refused", "plain"))
        assert read["marked"] == ChatResponse(text="2", reasoning="hm", finish_reason="stop")
        assert read["open"] == ChatResponse(reasoning="hm, and", finish_reason="length"), "the answer is missing"
        assert find_more("open") is None and find_more("marked") == read["marked"], "a larger cap could have an answer"
        records = {question_of(record): record for record in read_records(tmp_path)}
        assert records["marked"]["response"]["text"] == "<think>hm</think>\n2", "the record keeps the text as it came"
        assert [name for name, record in records.items() if "reasoning" in record] == ["beside"]
        assert [name for name, record in records.items() if "refusal" in record] == ["refused"]
        seal_old(tmp_path)


def test_a_log_with_a_live_writer_is_not_sealed(tmp_path: Path) -> None:
    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            seal_old(tmp_path)
            assert suffixes(tmp_path) == [".jsonl"]

    asyncio.run(go())


def test_a_writer_that_was_taken_for_dead_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on two hosts without common locks, one of which paused for minutes."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            seal_old(tmp_path)
            await ledger.append(request("b"), ChatResponse(text="2"))
            assert ledger.get(request("a")) == ChatResponse(text="1")
            assert ledger.get(request("b")) == ChatResponse(text="2")

    asyncio.run(go())
    assert (answer_to(tmp_path, "a"), answer_to(tmp_path, "b")) == ("1", "2")
    assert len(list(read_records(tmp_path))) == 2


def test_a_log_that_is_sealed_while_it_is_synced_and_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)

    async def go() -> None:
        loop, later = asyncio.get_running_loop(), list[asyncio.Future[None]]()

        def seal_append_sync(file: int) -> None:
            if not later:
                seal_old(tmp_path)
                appended = threading.Event()

                def append() -> None:
                    later.append(ledger.append(request("b"), ChatResponse(text="2")))
                    appended.set()

                loop.call_soon_threadsafe(append)
                assert appended.wait(PATIENCE_S)
            os.fsync(file)

        async with Ledger(tmp_path, datasync=seal_append_sync) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            await later[0]
            assert ledger.get(request("a")) == ChatResponse(text="1")
            assert ledger.get(request("b")) == ChatResponse(text="2")

    asyncio.run(go())
    assert (answer_to(tmp_path, "a"), answer_to(tmp_path, "b")) == ("1", "2")


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "rename"), (Path, "unlink")])
def test_sealing_may_be_killed_anywhere(tmp_path: Path, owner: object, call: str) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    write(tmp_path, ("c", "3"))
    for calls in range(4):
        with pytest.MonkeyPatch.context() as patch:
            left = calls
            real = getattr(owner, call)

            def killed(*arguments: object, **more: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return real(*arguments, **more)  # noqa: B023

            patch.setattr(owner, call, killed)
            with contextlib.suppress(KeyboardInterrupt):
                seal_old(tmp_path)
        assert [answer_to(tmp_path, question) for question in "abc"] == ["1", "2", "3"]
        assert len(list(read_records(tmp_path))) == 3, "each record once"
        write(tmp_path, ("a", "later"))
        seal_old(tmp_path)
        assert [answer_to(tmp_path, question) for question in "abc"] == ["1", "2", "3"]
        for path in tmp_path.iterdir():
            path.unlink()
        write(tmp_path, ("a", "1"), ("b", "2"))
        write(tmp_path, ("c", "3"))
