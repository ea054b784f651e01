"""Tests of orcac/chat/limits/account.py and orcac/chat/limits/budget.py with the shards of one dataset.

Shards run as Snakemake runs them (`orcac make --shard`), on one account and one budget, with kills and reruns; also on
a file system without `flock`, on hosts whose clocks differ. All figures are counted by the server.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Fault, FaultServer
from patience import PATIENCE_S

from orcac import rows
from orcac.chat.ledger.files import read_records
from orcac.chat.limits.account import REFRESH_S
from orcac.chat.limits.budget import Budget
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.rows import Prompt
from orcac.spec.load import load
from orcac.store.store import Store

SHARDS, QUESTIONS, IN_FLIGHT = 3, 300, 6
ANSWER_USD = 18 * 1e-3  # for 7 input and 11 output tokens
SPEC = """
orcac: 1
name: shards
queries: {mine: {format: jsonl, path: mine.jsonl, fields: {query: q}}}
system_messages: {messages: {2: ""}, draw: {mine: [2]}}
teachers:
  gpt:
    model: m
    endpoint: {kind: openai, base_url: "%(url)s", concurrency: %(in_flight)d, requests_per_minute: %(per_minute)d}
    sampling: {max_tokens: 22}
    price: {input: 1000, output: 1000}
datasets: {answers: {teacher: gpt, queries: [mine], shards: %(shards)d}}
student: {size: tiny, max_length: 256, tokenizer: {vocabulary: 300, train_on: [answers]}}
stages: {only: {dataset: answers, epochs: 1, batch: 8 rows}}
curriculum: [only]
budget: %(usd)s USD
"""


# Python imports it first: a host of its own, a file system without locks, and a clock that differs from its own.
HOST = """
import errno, fcntl, os, socket, time
def refuse(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
fcntl.flock = refuse
socket.gethostname = lambda: os.environ["HOST_NAME"]
time.time = lambda now=time.time: now() + float(os.environ["CLOCK_LEAD_S"])
"""


class Study:
    """A spec in a folder, with the `orcac` processes that run it there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "ORCAC_STORE": str(folder / "store"),
            "ORCAC_PLAN": str(folder / "plan.json"),
            "OPENAI_API_KEY": "sk-secret",
        }
        self.prompts: list[Prompt] = []
        lines = (json.dumps({"q": f"q{n}"}) for n in range(QUESTIONS))
        (folder / "mine.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def compile(self, server: FaultServer, *, usd: float, per_minute: int = 100_000, shards: int = SHARDS) -> str:
        """Write the spec and its plan, and make the sample node. Returns the KIND/ID of the collect node."""
        values = {"url": server.base_url, "in_flight": SHARDS * IN_FLIGHT, "shards": shards}
        (self.folder / "spec.yaml").write_text(SPEC % (values | {"usd": usd, "per_minute": per_minute}))
        plan = Plan()
        lower(plan, load(self.folder / "spec.yaml"))
        plan.write(self.folder / "plan.json")
        sample, collect = (next(ref for ref in plan.nodes if ref.startswith(kind)) for kind in ("sample", "collect"))
        make(plan, Store(self.folder / "store"), sample)
        self.prompts = list(rows.read(self.folder / "store" / sample / "prompts.parquet", Prompt))
        return collect

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "orcac", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def shards(self, collect: str) -> list[subprocess.Popen[bytes]]:
        return [self.start("make", collect, "--shard", f"{number}-of-{SHARDS}") for number in range(1, SHARDS + 1)]

    def read_questions(self) -> set[str]:
        """Return the questions with an answer in the ledger."""
        return {record["request"]["messages"][-1][1] for record in read_records(self.folder / "store" / "answers")}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def each_billed(server: FaultServer, *, every: int) -> Iterator[None]:
    """Yield whenever the server has billed `every` more answers."""
    while True:
        goal, deadline = server.billed.total() + every, time.monotonic() + PATIENCE_S
        while server.billed.total() < goal and time.monotonic() < deadline:
            time.sleep(0.005)
        yield


def test_shards_share_the_rate_of_their_account(study: Study) -> None:
    a_second, asked, refused = 40, defaultdict[str, list[float]](list), 0
    credit, last = float(a_second), time.monotonic()

    def behaviour(question: str, before: int) -> Fault:
        nonlocal credit, last, refused
        now = time.monotonic()
        credit, last = min(a_second, credit + a_second * (now - last)), now
        asked[question].append(now)
        if credit < 1:
            refused += 1
            return "429 with Retry-After"
        credit -= 1
        return ""

    with FaultServer(behaviour, latency_s=0.05) as server:
        collect = study.compile(server, usd=100, per_minute=60 * a_second)
        assert [shard.wait(PATIENCE_S) for shard in study.shards(collect)] == [0] * SHARDS
        assert set(server.billed.values()) == {1} and len(server.billed) == QUESTIONS
    first = [min(asked[prompt.query][0] for prompt in study.prompts[shard::SHARDS]) for shard in range(SHARDS)]
    steady = [at for times in asked.values() for at in times if at > max(first) + 1.5 * REFRESH_S]
    assert steady
    for start in steady:
        in_a_second = sum(start <= at < start + 1 for at in steady)
        assert in_a_second <= a_second * 1.1 + SHARDS + SHARDS * IN_FLIGHT, "the rate, credit for timers, a full socket"
    assert refused <= SHARDS * a_second, "before the shards knew of one another"


def test_killed_shards_that_run_again_keep_to_the_budget(study: Study, tmp_path: Path) -> None:
    usd, kills, chance = 1.7, 3, random.Random(5)  # too little for all requests of one shard
    with FaultServer(latency_s=0.05) as server:
        collect = study.compile(server, usd=usd)
        shards, ticks = study.shards(collect), each_billed(server, every=10)
        for _ in range(kills):
            next(ticks)
            victim = chance.randrange(SHARDS)
            shards[victim].kill()
            shards[victim].wait()
            shards[victim] = study.start("make", collect, "--shard", f"{victim + 1}-of-{SHARDS}")
        assert [shard.wait(PATIENCE_S) for shard in shards] == [4] * SHARDS, (tmp_path / "log").read_text()
        stopped = server.billed.copy()
        spent = Budget(tmp_path / "store" / "answers" / "budgets" / "shards", usd).spent()
        assert round(stopped.total() * ANSWER_USD, 6) <= spent <= usd
        assert spent > usd - 0.042, "room for one more request"
        log = (tmp_path / "log").read_text()
        assert "the budget of 1.70 USD holds no further request" in log and f" 1-of-{SHARDS}` alone" in log

        assert [shard.wait(PATIENCE_S) for shard in study.shards(collect)] == [4] * SHARDS
        assert server.billed == stopped, "a spent budget pays for nothing"

        kept = study.read_questions()
        collect = study.compile(server, usd=30)
        assert [shard.wait(PATIENCE_S) for shard in study.shards(collect)] == [0] * SHARDS, (
            tmp_path / "log"
        ).read_text()
        assert all(server.billed[question] == stopped[question] for question in kept), "paid again"
        assert len(server.billed) == QUESTIONS
        assert server.billed.total() <= QUESTIONS + kills * IN_FLIGHT * SHARDS
        paid = server.billed.copy()
        assert study.start("make", collect).wait(PATIENCE_S) == 0
        assert server.billed == paid


def test_eight_shards_share_a_store_without_flock_on_hosts_whose_clocks_differ(study: Study, tmp_path: Path) -> None:
    shards, usd = 8, 1.5  # for about a quarter of the questions
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "sitecustomize.py").write_text(HOST)

    def start(number: int) -> subprocess.Popen[bytes]:
        lead_s = (-3600, -70, 0, 70, 3600)[number % 5]
        study.environment |= {"PYTHONPATH": str(tmp_path / "host"), "CLOCK_LEAD_S": str(lead_s)}
        study.environment |= {"HOST_NAME": f"n{number}"}
        return study.start("make", collect, "--shard", f"{number}-of-{shards}")

    with FaultServer(latency_s=0.05) as server:
        collect = study.compile(server, usd=usd, shards=shards)
        running = {number: start(number) for number in range(1, shards + 1)}
        ticks = each_billed(server, every=20)
        next(ticks)
        running[3].kill()
        running[3].wait()
        running[3] = start(3)
        ended = [shard.wait(PATIENCE_S) for shard in running.values()]
        assert set(ended) <= {0, 4} and 4 in ended, (tmp_path / "log").read_text()
        spent = Budget(tmp_path / "store" / "answers" / "budgets" / "shards", usd).spent()
        assert round(server.billed.total() * ANSWER_USD, 6) <= spent <= usd

        kept, before = study.read_questions(), server.billed.copy()
        collect = study.compile(server, usd=30, shards=shards)
        assert start(3).wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
        assert all(server.billed[question] == before[question] for question in kept), "paid again"
        again = sum(count - 1 for count in server.billed.values())
        assert again <= SHARDS * IN_FLIGHT, "more than was in flight at the kill"
    assert "Traceback" not in (tmp_path / "log").read_text()
