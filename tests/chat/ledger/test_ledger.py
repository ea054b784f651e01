"""Tests of orcac/chat/ledger/ledger.py."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ledgers import answer_to, request, write
from patience import PATIENCE_S

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.log import Log
from orcac.chat.messages import ChatResponse
from orcac.errors import StoreError


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    write(folder)
    assert not folder.exists()


def test_appends_that_wait_together_share_one_sync(tmp_path: Path) -> None:
    synced: list[int] = []

    def count(file: int) -> None:
        os.fsync(file)
        synced.append(os.fstat(file).st_size)

    async def go() -> None:
        async with Ledger(tmp_path, datasync=count) as ledger:

            async def one(number: int) -> None:
                await ledger.append(request(str(number)), ChatResponse(text="x"))
                (log,) = tmp_path.iterdir()
                on_disk = log.read_bytes()[: synced[-1]]
                assert request(str(number)).key.encode() in on_disk, "acknowledged before it was durable"

            await asyncio.gather(*[one(number) for number in range(100)])

    asyncio.run(go())
    assert len(synced) <= 3


def test_a_full_disk_is_reported_to_every_append_and_the_log_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, synced = os.write, list[int]()

    def sync(file: int) -> None:
        os.fsync(file)
        synced.append(os.fstat(file).st_size)

    async def go() -> None:
        async with Ledger(tmp_path, datasync=sync) as ledger:
            await ledger.append(request("kept"), ChatResponse(text="x"))

            def write_until_full(file: int, data: memoryview) -> int:
                if len(data) < 50:
                    raise OSError(28, "No space left on device")
                return real_write(file, data[: len(data) - 40])

            monkeypatch.setattr(os, "write", write_until_full)
            waiting = [ledger.append(request(str(n)), ChatResponse(text="y")) for n in range(3)]
            synced.clear()
            for _ in range(2):
                with pytest.raises(StoreError, match="No space left"):
                    ledger.flush()
            for durable in waiting:
                with pytest.raises(StoreError, match="No space left"):
                    await durable
            monkeypatch.setattr(os, "write", real_write)
            with pytest.raises(StoreError, match="No space left"):  # nothing may follow the half record
                await ledger.append(request("later"), ChatResponse(text="z"))

    asyncio.run(go())
    assert answer_to(tmp_path, "kept") == "x"
    assert answer_to(tmp_path, "0") == "y"
    assert synced == [path.stat().st_size for path in tmp_path.glob("*.jsonl")], "it outlives the host"
    assert answer_to(tmp_path, "later") is None


def test_any_error_of_a_sync_is_reported_to_every_append(tmp_path: Path) -> None:
    def no_thread(file: int) -> None:
        raise RuntimeError("can't start new thread")

    async def go() -> None:
        async with Ledger(tmp_path, datasync=no_thread) as ledger:
            waiting = [ledger.append(request(str(n)), ChatResponse(text="x")) for n in range(3)]
            errors = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE_S)
            assert all(isinstance(error, RuntimeError) for error in errors)

    asyncio.run(go())


def test_a_record_is_in_the_log_before_it_is_durable(tmp_path: Path) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    async def go() -> None:
        async with Ledger(tmp_path, datasync=broken) as ledger:
            durable = ledger.append(request("q"), ChatResponse(text="x"))
            ledger.flush()
            assert answer_to(tmp_path, "q") == "x" and not durable.done()
            with pytest.raises(StoreError, match="Input/output error"):
                await durable

    asyncio.run(go())


def test_failures_of_the_endpoint_are_not_recorded(tmp_path: Path) -> None:
    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(request("too long"), ChatResponse(error="context_overflow"))
            for error in ("timeout", "bad_request"):
                with pytest.raises(AssertionError):
                    await ledger.append(request("q"), ChatResponse(error=error))

    asyncio.run(go())
    assert Ledger(tmp_path).get(request("too long")) == ChatResponse(error="context_overflow")


def test_two_processes_write_to_one_folder(tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from ledgers import write
        name = sys.argv[1]
        write(Path({str(tmp_path)!r}), *[(f"{{name}} {{n}}", name) for n in range(50)], ("both", name))
    """
    children = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("one", "two")]
    assert [child.wait(PATIENCE_S) for child in children] == [0, 0]
    ledger = Ledger(tmp_path)
    for name in ("one", "two"):
        for n in range(50):
            answer = ledger.get(request(f"{name} {n}"))
            assert answer and answer.text == name
    assert answer_to(tmp_path, "both") in ("one", "two")


def test_files_that_another_host_has_removed_are_reported_with_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, ("a", "1"))

    def stale(*_: object) -> Iterator[ChatResponse]:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        yield

    with contextlib.closing(Ledger(tmp_path)) as ledger:
        monkeypatch.setattr(Log, "responses", stale)
        with pytest.raises(StoreError, match="merged on another host") as error:
            ledger.get(request("a"))
        assert "nothing is asked twice" in error.value.fix
        with pytest.raises(StoreError, match="merged on another host"):
            list(ledger.responses(np.array([0], np.int32)))
