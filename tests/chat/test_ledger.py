from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orcac.chat import ledger as module
from orcac.chat.ledger import Ledger, records
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.errors import StoreError


def request(question: str) -> ChatRequest:
    messages = conversation(system="", user=question)
    return ChatRequest(model="m", messages=messages, sampling=Sampling(), origin="api")


def write(folder: Path, *pairs: tuple[str, str]) -> None:
    async def go() -> None:
        async with Ledger(folder) as ledger:
            for question, answer in pairs:
                await ledger.append(request(question), ChatResponse(text=answer, finish_reason="stop"))

    asyncio.run(go())


def text(folder: Path, question: str) -> str | None:
    answer = Ledger(folder).get(request(question))
    return answer.text if answer else None


def test_answers_are_read_back_as_they_were(tmp_path: Path) -> None:
    odd = "line\nbreak \u2028 \x00 数 🙂 \\u0041"
    write(tmp_path, (odd, odd), ("b", ""))
    assert text(tmp_path, odd) == odd
    assert text(tmp_path, "b") == ""
    assert text(tmp_path, "c") is None
    kept = next(records(tmp_path))
    assert kept["request"]["messages"] == [["user", odd]]
    wanted = Ledger(tmp_path, wanted={request("b").key})
    assert wanted.get(request("b")) and not wanted.get(request(odd))


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    write(folder)
    assert not folder.exists()


def test_a_ledger_cut_at_any_byte_of_its_last_record_loses_that_record_alone(tmp_path: Path) -> None:
    write(tmp_path, ("first", "1"), ("last", "2"))
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for length in range(end_of_first, len(whole)):
        segment.write_bytes(whole[:length])
        assert text(tmp_path, "first") == "1"
        assert text(tmp_path, "last") is None
        assert segment.stat().st_size == length, "a reader must not touch what another may be writing"
    write(tmp_path, ("last", "again"))
    assert text(tmp_path, "last") == "again"


def test_the_first_answer_wins_whatever_the_order_of_the_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host, answer in (("z", "first"), ("a", "second")):
        monkeypatch.setattr(module.socket, "gethostname", lambda host=host: host)
        write(tmp_path, ("q", answer))
    assert [path.name[0] for path in sorted(tmp_path.iterdir())] == ["a", "z"]
    assert text(tmp_path, "q") == "first"


def test_appends_that_wait_together_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def count(file: int) -> None:
        os.fsync(file)
        synced.append(os.fstat(file).st_size)

    monkeypatch.setattr(module, "_datasync", count)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:

            async def one(number: int) -> None:
                await ledger.append(request(str(number)), ChatResponse(text="x"))
                (segment,) = tmp_path.iterdir()
                on_disk = segment.read_bytes()[: synced[-1]]
                assert request(str(number)).key.encode() in on_disk, "acknowledged before it was durable"

            await asyncio.gather(*[one(number) for number in range(100)])

    asyncio.run(go())
    assert len(synced) <= 3


def test_a_full_disk_is_reported_to_everyone_and_the_segment_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some = os.write

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("kept"), ChatResponse(text="x"))

            def full(file: int, data: memoryview) -> int:
                if len(data) < 50:
                    raise OSError(28, "No space left on device")
                return write_some(file, data[: len(data) - 40])

            monkeypatch.setattr(module.os, "write", full)
            lost = await asyncio.gather(
                *[ledger.append(request(str(n)), ChatResponse(text="y")) for n in range(3)], return_exceptions=True
            )
            assert [type(error) for error in lost] == [StoreError] * 3
            monkeypatch.setattr(module.os, "write", write_some)
            with pytest.raises(StoreError, match="No space left"):  # nothing may follow the half record
                await ledger.append(request("later"), ChatResponse(text="z"))

    asyncio.run(go())
    assert text(tmp_path, "kept") == "x"
    assert text(tmp_path, "later") is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    (segment,) = tmp_path.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    for damaged in (b"\0" * 40 + b"\n", lines[0][:90] + b"\n"):
        segment.write_bytes(damaged + lines[1])
        with pytest.raises(StoreError, match=rf"{segment.name}:1: .*damaged"):
            Ledger(tmp_path)


def test_json_that_is_no_record_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"), ("c", "3"))
    (segment,) = tmp_path.iterdir()
    first, *others = map(json.loads, segment.read_bytes().splitlines())
    foreign: list[object] = [{**first, "response": {**first["response"], "error": "bad_request"}}]
    foreign += [{name: first[name] for name in first if name != lacking} for lacking in ("at", "request", "response")]
    foreign += [{**first, "response": response} for response in (None, {}, {**first["response"], "more": 1})]
    foreign += [{"at": 1.0}, 7]
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in (*foreign, *others)]
    segment.write_text("".join(lines))
    assert [text(tmp_path, question) for question in "abc"] == [None, "2", "3"]
    write(tmp_path, ("a", "again"))
    assert text(tmp_path, "a") == "again"


def test_failures_of_the_endpoint_are_refused(tmp_path: Path) -> None:
    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("too long"), ChatResponse(error="context_overflow"))
            for error in ("timeout", "bad_request"):
                with pytest.raises(AssertionError):
                    await ledger.append(request("q"), ChatResponse(error=error))

    asyncio.run(go())
    assert Ledger(tmp_path).get(request("too long")) == ChatResponse(error="context_overflow")


def test_two_processes_write_one_folder(tmp_path: Path) -> None:
    code = f"""if True:
        import asyncio, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_ledger import *
        name = sys.argv[1]
        write(Path({str(tmp_path)!r}), *[(f"{{name}} {{n}}", name) for n in range(50)], ("both", name))
    """
    children = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("one", "two")]
    assert [child.wait(30) for child in children] == [0, 0]
    ledger = Ledger(tmp_path)
    for name in ("one", "two"):
        for n in range(50):
            answer = ledger.get(request(f"{name} {n}"))
            assert answer and answer.text == name
    assert text(tmp_path, "both") in ("one", "two")
