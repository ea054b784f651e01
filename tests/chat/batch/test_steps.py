"""Tests of orcac/chat/batch/steps.py and orcac/chat/batch/provider.py: kills, and calls that fail."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from batch_runs import (
    BOUND,
    KEY,
    ONE,
    QUICK,
    assert_answered_once,
    collect,
    spent_usd,
    start,
    troubles,
)
from faults import FaultServer
from faults.batches import Batches, Call, Trouble
from jobs import collect_job, read_responses, run_collect, write_prompts
from patience import PATIENCE_S

from orcac.chat.batch import files, steps
from orcac.chat.batch.files import read_batches
from orcac.chat.batch.provider import Provider
from orcac.chat.batch.tuning import Tuning
from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import RecordId, forget
from orcac.chat.limits.budget import Budget
from orcac.chat.settings import Azure


class Killed(BaseException):
    """Stands for SIGKILL: no handler in the code catches it."""


class Killer:
    """Raises Killed after the n-th call that sends something or writes to the disk, before the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for place, names in {
            Provider: ("upload", "create", "find", "retrieve", "download"),
            steps.Ledger: ("append",),
            files: ("write_record", "delete_transfers"),
            Budget: ("claim", "release"),
        }.items():
            for name in names:
                monkeypatch.setattr(place, name, self._deadly(getattr(place, name)))

    def _deadly(self, call: Any) -> Any:
        def hit() -> None:
            self.left -= 1
            if self.left == -1:
                raise Killed

        async def awaited(*arguments: Any) -> Any:
            answer = await call(*arguments)
            hit()
            return answer

        def called(*arguments: Any) -> Any:
            answer = call(*arguments)
            hit()
            return answer

        return awaited if inspect.iscoroutinefunction(call) else called


def test_a_kill_after_any_step_repeats_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget_usd = 3 * BOUND + 1.5  # room for the most that one batch can cost, and not for two
    killer, made, step, known = Killer(monkeypatch), Batches(hours_each=1), 0, set[str]()
    with FaultServer(mount=made.mount) as server:
        while True:
            folder = tmp_path / str(step)
            write_prompts(folder, 3, first=3 * step)
            killer.left = step
            try:
                collect(folder, server, budget_usd=budget_usd)
                break
            except Killed:
                killer.left = -1
                held = spent_usd(folder)
                assert held in (0, pytest.approx(3 * BOUND, abs=1.5), 3 * ONE), "the most that may be billed, once"
                assert made.created.keys() <= known or held, "sent before its cost was claimed"
                collect(folder, server, budget_usd=budget_usd)
            assert spent_usd(folder) == 3 * ONE, f"step {step}"
            known = set(made.created)
            assert len(made.created) == step + 1
            assert len(list(read_records(folder / "answers"))) == 3, f"step {step}"
            assert [row.response for row in read_responses(folder)] == [f"answer to q{n + 3 * step}" for n in range(3)]
            step += 1
    assert step > 12 and set(made.billed.values()) == {1}


def test_an_answer_that_was_forgotten_before_its_batch_was_closed_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is killed when the answers are in the ledger, and the second one takes the batch in again."""
    write_prompts(tmp_path, 3)
    made = Batches(hours_each=0.1)

    def kill(self: steps.Steps, batch: files.Batch) -> None:
        raise Killed

    with FaultServer(mount=made.mount) as server:
        with monkeypatch.context() as context, pytest.raises(Killed):
            context.setattr(steps.Steps, "_close", kill)
            collect(tmp_path, server)
        (gone,) = (one for one in read_records(tmp_path / "answers") if one["request"]["messages"][-1][1] == "q1")
        forget(tmp_path / "answers", [RecordId(gone["key"], gone["at"])])
        assert collect(tmp_path, server).answered == 3
    assert made.billed == {"q0": 1, "q1": 2, "q2": 1}
    assert len(list(read_records(tmp_path / "answers"))) == 4


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        ("upload", "hangs"),
        ("upload", "mute"),
        ("create", "hangs"),
        ("create", "mute"),
        ("retrieve", "hangs"),
        ("content", "hangs"),
    ],
)
def test_a_kill_during_a_call_sends_nothing_twice(tmp_path: Path, call: Call, trouble: Trouble) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(troubles((call, 0, trouble)))
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert made.stuck.wait(PATIENCE_S)
        child.kill()
        child.wait()
        collect(tmp_path, server)
    assert len(made.created) == 1
    assert_answered_once(tmp_path, made, 5)


@pytest.mark.parametrize(
    "calls",
    [
        (("upload", 0, "500"), ("upload", 1, "dropped"), ("upload", 2, "deaf")),
        (("create", 0, "deaf"),),  # submitted, but the client got no response
        (("create", 0, "deaf"), ("list", 0, "500")),
        (("create", 0, "dropped"), ("create", 1, "500"), ("create", 2, "429")),
        (("retrieve", 0, "500"), ("retrieve", 1, "dropped"), ("retrieve", 2, "429")),
        (("content", 0, "half"), ("content", 1, "500"), ("content", 2, "dropped")),
    ],
)
def test_failed_calls_are_repeated_and_make_no_second_batch(tmp_path: Path, calls: Any) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(troubles(*calls), forget_metadata=calls[-1][0] == "list")
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    assert len(made.created) == 1 and made.calls[calls[0][0]] > 1 - (calls[0][2] == "deaf")
    assert_answered_once(tmp_path, made, 5)


def test_azure_is_asked_with_its_own_paths_and_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    azure = {"api_version": "2024-10-21", "deployment": "mine"}
    where = {"api_key_env": "AZURE_OPENAI_API_KEY", "azure": Azure(**azure)}
    write_prompts(tmp_path, 5)
    made = Batches(root="/openai")
    with FaultServer(mount=made.mount) as server:
        address = server.base_url.removesuffix("/v1")
        assert run_collect(collect_job(tmp_path, address, mode="batch", **where), Tuning(**QUICK)).answered == 5
    assert_answered_once(tmp_path, made, 5)
    (sent,) = made.created.values()
    assert {(line["url"], line["body"]["model"]) for line in sent.lines} == {("/chat/completions", "mine")}
    assert read_batches(tmp_path / "answers")[0].azure == azure
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
