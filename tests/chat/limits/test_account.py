"""Tests of orcac/chat/limits/account.py, with real processes that are killed.

A job of another host is simulated by a lease file with a heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE_S

from orcac.chat.limits.account import Account, account_name
from orcac.chat.settings import Azure, EndpointSettings

JOB = """
import asyncio, sys
from pathlib import Path
from orcac.chat.limits.account import Account

async def main():
    async with Account(Path(sys.argv[1]), "a") as account:
        print("in", flush=True)
        for line in sys.stdin:
            account.pause(float(line))
            print("paused", flush=True)

asyncio.run(main())
"""


def start(folder: Path) -> subprocess.Popen[str]:
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout and job.stdout.readline()
    return job


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def elsewhere(folder: Path, *, age: float = 0.0) -> Path:
    """Write the lease of a job of another host whose last heartbeat is `age` seconds old."""
    folder.mkdir(parents=True)
    lease = folder / "lease.json"
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    os.utime(lease, (time.time() - age, time.time() - age))
    return lease


def test_jobs_are_counted_while_they_live(tmp_path: Path) -> None:
    async def go() -> None:
        async with Account(tmp_path, "a") as mine, Account(tmp_path, "other") as other:
            assert mine.live_jobs() == 1
            jobs = [start(tmp_path) for _ in range(3)]
            wait_until(lambda: mine.live_jobs() == 4)
            assert other.live_jobs() == 1
            jobs[0].kill()
            wait_until(lambda: mine.live_jobs() == 3)
            jobs[1].communicate()
            wait_until(lambda: mine.live_jobs() == 2)
            lease = elsewhere(tmp_path / "a" / "there")
            wait_until(lambda: mine.live_jobs() == 3)
            os.utime(lease, (time.time() - 61, time.time() - 61))
            wait_until(lambda: mine.live_jobs() == 2)
            os.utime(lease)  # the job was only stopped, and goes on
            wait_until(lambda: mine.live_jobs() == 3)
            os.utime(lease, (time.time() - 4000, time.time() - 4000))
            wait_until(lambda: mine.live_jobs() == 2 and not lease.exists())
            jobs[2].communicate()

    asyncio.run(go())
    assert len(list((tmp_path / "a").iterdir())) == 1, "a killed job keeps its place for an hour"
    assert not list((tmp_path / "other").iterdir())


def test_a_pause_applies_to_all_jobs_and_is_never_shortened(tmp_path: Path) -> None:
    async def go() -> None:
        async with Account(tmp_path, "a") as mine:
            assert mine.paused_until() < time.time()
            job = start(tmp_path)
            assert job.stdin and job.stdout
            for seconds in (1000, 1):
                print(seconds, file=job.stdin, flush=True)
                job.stdout.readline()
            wait_until(lambda: mine.paused_until() > time.time() + 900)
            mine.pause(5)
            assert time.time() + 900 < mine.paused_until() < time.time() + 1001
            job.communicate()

    asyncio.run(go())

    async def later() -> float:
        async with Account(tmp_path, "a") as late:
            return late.paused_until()

    assert asyncio.run(later()) > time.time() + 900, "a job that starts during a pause waits as well"


def test_expired_and_malformed_pauses_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("pause-1.5", "pause-inf", "pause-nan", "pause-", "pause-x"):
        (tmp_path / "a" / name).touch()

    async def go() -> tuple[float, int]:
        async with Account(tmp_path, "a", refresh_s=0.0) as mine:
            return mine.paused_until(), mine.live_jobs()

    assert asyncio.run(go()) == pytest.approx((1.5, 1), abs=0.5), "as exact as the times of files"
    assert not (tmp_path / "a" / "pause-1.5").exists()


def test_a_clock_that_jumps_makes_no_pause_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by tests/chaos: after a jump back by two hours, a job paused for two hours."""
    clock = time.time

    def left(account: Account) -> float:
        return account.paused_until() - time.time()

    async def go() -> None:
        async with Account(tmp_path, "a", refresh_s=0.0) as mine:
            mine.pause(100)
            async with Account(tmp_path, "a", refresh_s=0.0) as other:
                assert 90 < left(other) <= 100.1
                monkeypatch.setattr("time.time", lambda: clock() - 7000)
                monkeypatch.setattr("orcac.chat.limits.account.file_system_time", lambda path: clock() - 7000)
                assert left(mine) <= 100.1 and left(other) <= 100.1
            async with Account(tmp_path, "a", refresh_s=0.0) as late:
                assert left(late) < 0, "no job shares a pause as long as this seems to be"

    asyncio.run(go())


def test_an_account_is_an_address_a_key_variable_and_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    settings = EndpointSettings(kind="openai", base_url="http://host/v1")
    name = account_name(settings, "m")
    assert name == account_name(settings.model_copy(update={"base_url": "http://host/v1/", "concurrency": 9}), "m")
    others = [account_name(settings.model_copy(update={"api_key_env": "MINE"}), "m"), account_name(settings, "n")]
    nowhere = account_name(EndpointSettings(kind="openai"), "m")
    assert len({name, *others, nowhere}) == 4
    assert nowhere == account_name(settings.model_copy(update={"base_url": "https://api.openai.com/v1/"}), "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    assert name == account_name(EndpointSettings(kind="openai"), "m")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    assert name == account_name(settings, "m")


def test_each_azure_deployment_is_an_account_of_its_own() -> None:
    def name(deployment: str | None, model: str) -> str:
        azure = Azure(api_version="1", deployment=deployment)
        return account_name(EndpointSettings(kind="openai", base_url="https://x.openai.azure.com", azure=azure), model)

    assert name("a", "m") != name("b", "m")
    assert name("a", "m") == name("a", "n") == name(None, "a")
