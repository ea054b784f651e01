from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.ledger import files as segments
from orcac.chat.ledger import ledger as module
from orcac.chat.ledger import record, sealing
from orcac.chat.ledger.files import records
from orcac.chat.ledger.following import Following
from orcac.chat.ledger.keys import order_of, packed
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.sealing import seal
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.errors import StoreError
from orcac.store import durable


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
    wanted = Ledger(tmp_path, wanted=packed([request("b").key]))
    assert wanted.get(request("b")) and not wanted.get(request(odd))


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    write(folder)
    assert not folder.exists()


def test_more_files_than_a_process_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ("a", "1"))
    (log,) = tmp_path.iterdir()
    for number in range(300):
        shutil.copy(log, tmp_path / f"{number}.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert len(list(records(tmp_path))) == 301
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        monkeypatch.setattr(segments, "allow_many_files", lambda: None)  # as if that were all
        with pytest.raises(StoreError, match=r"301 files are more(.|\n)*ulimit"):
            list(records(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_log_cut_at_any_byte_of_its_last_three_records_loses_the_torn_one_alone(tmp_path: Path) -> None:
    write(tmp_path, *[(str(n), f"answer {n}") for n in range(5)])
    (log,) = tmp_path.iterdir()
    whole = log.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[1], len(whole)):
        log.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        assert [text(tmp_path, str(n)) is not None for n in range(5)] == [n < kept for n in range(5)]
        assert log.stat().st_size == length, "a reader must not touch what another may be writing"
    write(tmp_path, ("4", "again"))
    assert text(tmp_path, "4") == "again"


def test_a_record_serves_the_caps_that_its_answer_would_be_the_same_under(tmp_path: Path) -> None:
    def capped(cap: int) -> ChatRequest:
        return dataclasses.replace(request("q"), sampling=Sampling(max_tokens=cap))

    cut = ChatResponse(text="it is", finish_reason="length", output_tokens=10)
    whole = ChatResponse(text="it is so", finish_reason="stop", output_tokens=30)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(capped(10), cut)
            assert [ledger.get(capped(cap)) for cap in (8, 10, 11)] == [None, cut, None]
            await ledger.append(capped(100), whole)
            for seen in (ledger, Ledger(tmp_path)):
                assert [seen.get(capped(cap)) for cap in (10, 20, 30, 5000)] == [cut, None, whole, whole]
                assert [int(n) for n in seen.find(packed([request("q").key]), 20)] == [-1]
                numbers = [seen.find(packed([request("q").key]), cap) for cap in (10, 99)]
                assert [seen.facts["output_tokens"][number] for number in numbers] == [10, 30]

    asyncio.run(go())


def test_records_under_the_first_rule_of_keys_still_serve(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    (log,) = tmp_path.iterdir()
    old = [json.loads(line) | {"key": 64 * "0", "key_version": 1} for line in log.read_bytes().splitlines()]
    log.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in old))
    assert text(tmp_path, "a") == "1"
    assert Ledger(tmp_path, wanted=packed([request("b").key])).get(request("b"))
    assert {record["key"] for record in records(tmp_path)} == {request("a").key, request("b").key}
    grow_old(tmp_path, seal_always=True)
    assert text(tmp_path, "b") == "2"


def grow_old(folder: Path, *, seal_always: bool = False) -> None:
    """Let the logs look as if nobody had touched them for long, and seal them."""
    for path in folder.glob("*.jsonl"):
        os.utime(path, (0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_LOGS", 1 if seal_always else sealing._LOGS)
        seal(folder)


def test_dead_logs_are_sealed_and_serve_as_before(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path, *[(f"{n} {m}", f"answer {n} {m}") for m in range(3)])
    torn = sorted(tmp_path.glob("*.jsonl"))[4]
    torn.write_bytes(torn.read_bytes() + b'{"key":"0123')
    before = sorted(records(tmp_path), key=lambda record: record["at"])
    held = Ledger(tmp_path)  # opened before, and still good when its files have been sealed
    grow_old(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir() if path.name != "seal.lock"] == [".parquet"]
    after = sorted(records(tmp_path), key=lambda record: record["at"])
    assert json.loads(json.dumps(after)) == json.loads(json.dumps(before))
    for ledger in (held, Ledger(tmp_path), Ledger(tmp_path, wanted=packed([request("7 1").key]))):
        answer = ledger.get(request("7 1"))
        assert answer and answer.text == "answer 7 1" and ledger.get(request("none")) is None
    for n in range(16):  # small sealed files grow together
        write(tmp_path, (f"more {n}", "x"))
    grow_old(tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 1 and len(list(records(tmp_path))) == 76


def test_files_from_before_batches_are_of_answers_got_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        for module_ in (record, segments):
            then.setattr(module_, "RESPONSE", tuple(name for name in record.RESPONSE if name != "batched"))
        old_schema = segments.SCHEMA.remove(segments.SCHEMA.get_field_index("batched"))
        for module_ in (segments, sealing):
            then.setattr(module_, "SCHEMA", old_schema)
        write(tmp_path, ("sealed", "1"))
        grow_old(tmp_path, seal_always=True)
        (old,) = tmp_path.glob("*.parquet")
        assert "batched" not in pq.read_schema(old).names
        write(tmp_path, ("logged", "2"))

    async def batch() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("batch"), ChatResponse(text="3", finish_reason="stop", batched=True))

    asyncio.run(batch())
    for _ in range(2):
        ledger = Ledger(tmp_path)
        for question, batched in (("sealed", False), ("logged", False), ("batch", True)):
            answer, known = ledger.get(request(question)), ledger.look(request(question))
            assert answer and known and answer.batched is known.batched is batched
        ledger.close()
        assert sum(bool(record["response"].get("batched")) for record in records(tmp_path)) == 1
        grow_old(tmp_path, seal_always=True)
    assert not old.exists(), "it was taken into the next"


def test_a_log_whose_writer_lives_is_not_sealed(tmp_path: Path) -> None:
    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            grow_old(tmp_path, seal_always=True)
            assert [path.suffix for path in tmp_path.iterdir() if path.name != "seal.lock"] == [".jsonl"]

    asyncio.run(go())


def test_a_writer_that_was_taken_for_dead_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on two hosts without common locks, one of which stood still for minutes."""
    monkeypatch.setattr(sealing.fcntl, "flock", lambda *_: None)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            grow_old(tmp_path, seal_always=True)
            await ledger.append(request("b"), ChatResponse(text="2"))
            assert ledger.get(request("a")) == ChatResponse(text="1")
            assert ledger.get(request("b")) == ChatResponse(text="2")

    asyncio.run(go())
    assert (text(tmp_path, "a"), text(tmp_path, "b")) == ("1", "2")
    assert len(list(records(tmp_path))) == 2


def test_a_log_that_is_taken_while_it_is_synced_and_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing.fcntl, "flock", lambda *_: None)

    async def go() -> None:
        loop, later = asyncio.get_running_loop(), []
        async with Ledger(tmp_path) as ledger:

            def taken(file: int) -> None:
                """Sealed, then added to, then synced, in that order."""
                os.fsync(file)
                if not later:
                    grow_old(tmp_path, seal_always=True)
                    added = threading.Event()

                    def add() -> None:
                        later.append(ledger.append(request("b"), ChatResponse(text="2")))
                        added.set()

                    loop.call_soon_threadsafe(add)
                    assert added.wait(10)

            monkeypatch.setattr(module, "_datasync", taken)
            await ledger.append(request("a"), ChatResponse(text="1"))
            await later[0]
            assert ledger.get(request("a")) == ChatResponse(text="1")
            assert ledger.get(request("b")) == ChatResponse(text="2")

    asyncio.run(go())
    assert (text(tmp_path, "a"), text(tmp_path, "b")) == ("1", "2")


@pytest.mark.parametrize("at", ["fsync", "rename", "unlink"])
def test_sealing_may_be_killed_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    write(tmp_path, ("c", "3"))
    for calls in range(4):
        with pytest.MonkeyPatch.context() as patch:
            left = calls
            owner = durable.os if at == "fsync" else sealing.Path
            does = getattr(owner, at)

            def killed(*arguments: object, **more: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return does(*arguments, **more)  # noqa: B023

            patch.setattr(owner, at, killed)
            with contextlib.suppress(KeyboardInterrupt):
                grow_old(tmp_path, seal_always=True)
        assert [text(tmp_path, question) for question in "abc"] == ["1", "2", "3"]
        assert len(list(records(tmp_path))) == 3, "each record once"
        write(tmp_path, ("a", "later"))
        grow_old(tmp_path, seal_always=True)
        assert [text(tmp_path, question) for question in "abc"] == ["1", "2", "3"]
        for path in tmp_path.iterdir():
            path.unlink()
        write(tmp_path, ("a", "1"), ("b", "2"))
        write(tmp_path, ("c", "3"))


def test_a_damaged_sealed_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"))
    grow_old(tmp_path, seal_always=True)
    (path,) = tmp_path.glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=rf"{path.name}: the file is damaged"):
        Ledger(tmp_path)


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
    write_some, synced = os.write, list[int]()

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("kept"), ChatResponse(text="x"))

            def full(file: int, data: memoryview) -> int:
                if len(data) < 50:
                    raise OSError(28, "No space left on device")
                return write_some(file, data[: len(data) - 40])

            monkeypatch.setattr(module.os, "write", full)
            waiting = [ledger.append(request(str(n)), ChatResponse(text="y")) for n in range(3)]
            monkeypatch.setattr(module, "_datasync", lambda file: synced.append(os.fstat(file).st_size))
            for _ in range(2):
                with pytest.raises(StoreError, match="No space left"):
                    ledger.flush()
            for durable in waiting:
                with pytest.raises(StoreError, match="No space left"):
                    await durable
            monkeypatch.setattr(module.os, "write", write_some)
            with pytest.raises(StoreError, match="No space left"):  # nothing may follow the half record
                await ledger.append(request("later"), ChatResponse(text="z"))

    asyncio.run(go())
    assert text(tmp_path, "kept") == "x"
    assert text(tmp_path, "0") == "y"
    assert synced == [path.stat().st_size for path in tmp_path.glob("*.jsonl")], "it outlives the host"
    assert text(tmp_path, "later") is None


def test_whatever_stops_a_sync_is_told_to_whoever_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(file: int) -> None:
        raise RuntimeError("can't start new thread")

    async def go() -> None:
        monkeypatch.setattr(module, "_datasync", no_thread)
        async with Ledger(tmp_path) as ledger:
            waiting = [ledger.append(request(str(n)), ChatResponse(text="x")) for n in range(3)]
            told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
            assert all(isinstance(error, RuntimeError) for error in told)

    asyncio.run(go())


@pytest.mark.parametrize("wants", ["all", "some", "any"])
def test_what_is_wanted_is_found_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wants: str) -> None:
    """Among them keys that end in zeros, which NumPy strips."""
    monkeypatch.setattr(module, "_RECENT", 0)
    many = map(str, range(100_000))
    asked = [*islice((text for text in many if request(text).key.endswith("00")), 3), *map(str, range(40))]
    before, after, never = asked[::3], asked[1::3], asked[2::3]
    write(tmp_path, *((text, f"old {text}") for text in before))
    wanted = {"all": asked, "some": [asked[0], *asked[-3:]], "any": None}[wants]
    keys = None if wanted is None else packed(request(text).key for text in wanted)

    async def go() -> None:
        async with Ledger(tmp_path, wanted=keys) as ledger:
            await asyncio.gather(*(ledger.append(request(text), ChatResponse(text=f"new {text}")) for text in after))
            for text in asked:
                is_known = text in after or (text in before and (wanted is None or text in wanted))
                answer = ledger.get(request(text))
                assert (answer.text[4:] if answer else None) == (text if is_known else None)
                found = ledger.find(packed([request(text).key]), 1024)
                merged = is_known and (wanted is None or text in wanted)
                assert [response.text[4:] for _, response in ledger.responses(found[found >= 0])] == [text] * merged
            assert never and all(ledger.look(request(text)) is None for text in never)

    asyncio.run(go())


def test_a_record_is_in_the_log_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    async def go() -> None:
        monkeypatch.setattr(module, "_datasync", broken)
        async with Ledger(tmp_path) as ledger:
            durable = ledger.append(request("q"), ChatResponse(text="x"))
            ledger.flush()
            assert text(tmp_path, "q") == "x" and not durable.done()
            with pytest.raises(StoreError, match="Input/output error"):
                await durable

    asyncio.run(go())


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
    foreign += [{"at": 1.0}, 7, {**first, "key": "zz"}, {**first, "key": first["key"].upper()}, {**first, "at": 1e300}]
    for part, field, values in (
        ("request", "model", (5, "\ud800")),
        ("request", "messages", ([], ["ab"], [["user", 5]])),
        ("request", "sample_index", (True, -1)),
        ("request", "sampling", (None, {"max_tokens": 2**40})),
        ("response", "text", (None, "\ud800")),
        ("response", "finish_reason", (None,)),
        ("response", "input_tokens", (None, "seven", -5, True, 1.5)),
        ("response", "output_tokens", (2**40,)),
        ("response", "latency_s", ("1", float("nan"))),
        ("response", "error", (None, 0, "timeout")),
        ("response", "batched", (None,)),
    ):
        foreign += [{**first, part: {**first[part], field: value}} for value in values]
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in (*foreign, *others)]
    segment.write_text("".join(lines))
    assert [text(tmp_path, question) for question in "abc"] == [None, "2", "3"]
    assert len(list(records(tmp_path))) == 2
    grow_old(tmp_path, seal_always=True)
    assert [text(tmp_path, question) for question in "abc"] == [None, "2", "3"]
    write(tmp_path, ("a", "again"))
    assert text(tmp_path, "a") == "again"


def follow(folder: Path, *steps: Callable[[], object]) -> list[str]:
    """The questions that are followed, a look before the first of `steps` and after each."""
    following = Following(folder)
    found = list(following.look())
    for step in steps:
        step()
        found += following.look()
    return [record["request"]["messages"][-1][1] for record in found]


def test_what_is_sealed_between_two_looks_is_followed(tmp_path: Path) -> None:
    """Whoever follows may stand still for long: a log comes, grows and is sealed, and that file into a larger one."""

    def sealed(*questions: str) -> None:
        for question in questions:
            write(tmp_path, (question, "x"))
            grow_old(tmp_path, seal_always=True)

    def grown() -> None:
        with next(tmp_path.glob("*.jsonl")).open("ab") as log:
            log.write(record.line_of(record.record_of(request("grown"), ChatResponse(text="x"))))
        sealed()
        sealed("new")

    sealed("before")
    write(tmp_path, ("old", "x"))
    write(tmp_path, ("old too", "x"))
    found = follow(
        tmp_path,
        grown,
        lambda: sealed("1", "2", "3"),
        lambda: write(tmp_path, ("4", "x")),
        lambda: grow_old(tmp_path, seal_always=True),
        lambda: write(tmp_path, ("5", "x")),
    )
    assert found == ["grown", "new", "1", "2", "3", "4", "5"]


def test_what_a_writer_that_was_taken_for_dead_writes_again_is_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing.fcntl, "flock", lambda *_: None)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("a"), ChatResponse(text="1"))
            following = Following(tmp_path)
            pending = ledger.append(request("b"), ChatResponse(text="2"))
            found = list(following.look())
            grow_old(tmp_path, seal_always=True)
            found += following.look()
            await pending
            await ledger.append(request("c"), ChatResponse(text="3"))
            found += following.look()
            assert [record["request"]["messages"][-1][1] for record in found] == ["b", "c"]

    asyncio.run(go())
    assert len(list(tmp_path.glob("*.jsonl"))) == 1, "it has begun another log"


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


@given(
    old=st.lists(st.integers(0, 40), max_size=60),
    new=st.lists(st.integers(0, 40), max_size=30),
    chunk=st.integers(1, 70),
)
def test_the_index_grows_in_place(old: list[int], new: list[int], chunk: int) -> None:
    array, more = np.array(sorted(old), "i8"), np.array(sorted(new), "i8")
    places = np.searchsorted(array, more, side="right")
    whole = np.insert(array, places, more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        module._insert(array, places, more)
    assert array.tolist() == whole.tolist()


@given(st.lists(st.binary(min_size=16, max_size=16) | st.sampled_from([b"\0" * 16, b"a" + b"\0" * 15]), max_size=50))
def test_keys_are_sorted_as_bytes(digests: list[bytes]) -> None:
    keys = np.array(digests, "S16")
    assert order_of(keys).tolist() == sorted(range(len(digests)), key=digests.__getitem__)
