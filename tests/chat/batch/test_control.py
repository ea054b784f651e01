"""Tests of orcac/chat/batch/control.py and orcac/cli/batches.py."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from batch_runs import (
    KEY,
    ONE,
    assert_answered_once,
    collect,
    orcac,
    spent_usd,
    start,
    submit_and_kill,
    troubles,
    wait_until_submitted,
)
from faults import FaultServer
from faults.batches import Batches
from jobs import write_prompts
from patience import PATIENCE_S

from orcac.chat.batch.control import cancel as cancel_batch
from orcac.chat.batch.files import read_batches
from orcac.chat.ledger.files import read_records
from orcac.errors import EndpointError, InputError


def test_questions_in_a_batch_are_not_asked_online(tmp_path: Path) -> None:
    write_prompts(tmp_path, 6)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        submit_and_kill(tmp_path, server)
        with pytest.raises(EndpointError, match="6 of 6 questions are in batches that are still running") as caught:
            collect(tmp_path, server, mode="online")
        assert "orcac batches cancel" in caught.value.fix and not server.asked
        made.pass_hours(4)
        (record,) = read_batches(tmp_path / "answers")
        asyncio.run(cancel_batch(tmp_path / "answers", record.id))
        made.pass_hours(1)
        assert collect(tmp_path, server, mode="online").answered == 6
        assert server.billed == Counter({"q4": 1, "q5": 1}), "the batch had answered the others"
    all_billed = made.billed + server.billed
    assert all_billed == Counter({f"q{n}": 1 for n in range(6)})


def test_listing_settles_an_ended_batch_that_no_run_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    write_prompts(tmp_path, 5)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        submit_and_kill(tmp_path, server, budget_usd=1e6)
        made.pass_hours(5)
        assert "no batch is under way" in orcac("batches", "list")
    assert len(list(read_records(tmp_path / "answers"))) == 5 and spent_usd(tmp_path) == 5 * ONE


@pytest.mark.parametrize("lost", ["batch", "file"])
def test_a_lost_batch_is_reported_and_can_be_given_up(tmp_path: Path, lost: str) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(troubles(("retrieve" if lost == "batch" else "content", 0, "hangs")))
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert made.stuck.wait(PATIENCE_S)
        child.kill()
        child.wait()
        (made.created if lost == "batch" else made.files).clear()
        for _ in range(2):
            with pytest.raises(EndpointError, match=r"5 requests, at most .* USD: .*(know|gone)") as caught:
                collect(tmp_path, server)
        (record,) = read_batches(tmp_path / "answers")
        assert f"orcac batches cancel {record.id}" in caught.value.fix and not record.settled
        assert "is given up" in asyncio.run(cancel_batch(tmp_path / "answers", record.id))
        assert collect(tmp_path, server).answered == 5


def test_cancelling_gives_up_a_batch_only_if_it_was_lost_before(tmp_path: Path) -> None:
    write_prompts(tmp_path, 5)
    made, answers = Batches(hours_each=1, hours_per_look=0.0), tmp_path / "answers"

    def cancel() -> str:
        (record,) = read_batches(answers)
        return asyncio.run(cancel_batch(answers, record.id))

    with FaultServer(mount=made.mount) as server:
        submit_and_kill(tmp_path, server)
        hidden, made.created = made.created, {}
        with pytest.raises(EndpointError, match="the provider does not know it") as caught:
            cancel()
        assert "gives it up" in caught.value.fix and read_batches(answers)[0].lost
        made.created = hidden  # the key was another project's
        made.pass_hours(5)
        assert "its answers are taken in: 5 answers" in cancel()
        assert collect(tmp_path, server).answered == 5
    assert len(made.created) == 1
    assert_answered_once(tmp_path, made, 5)


def test_a_cancelled_batch_is_settled_and_stops_the_run(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=2, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        wait_until_submitted(child)
        made.pass_hours(8)
        (record,) = read_batches(tmp_path / "answers")
        assert "cancelling" in asyncio.run(cancel_batch(tmp_path / "answers", record.id))
        _, said = child.communicate(timeout=PATIENCE_S)
        assert child.returncode == 4 and "was cancelled: 6 of its 10 requests have no answer" in said
        made.hours_per_look = 30
        collect(tmp_path, server)
    assert [len(one.lines) for one in made.created.values()] == [10, 6]
    assert_answered_once(tmp_path, made, 10)


def test_the_command_lists_and_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    write_prompts(tmp_path, 8)
    made = Batches(hours_each=2, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        assert "no batch is under way" in orcac("batches", "list")
        submit_and_kill(tmp_path, server)
        made.pass_hours(12)
        (shown,) = json.loads(orcac("batches", "list", "--json"))
        assert (shown["status"], shown["done"], shown["requests"]) == ("in_progress", 6, 8)
        listed = orcac("batches", "list")
        assert all(len(line) <= 80 for line in listed.splitlines()) and "1 under way: 8 requests, at most" in listed
        assert "is cancelling" in orcac("batches", "cancel", shown["id"][:5])
        with pytest.raises(InputError, match="0 live batches"):
            orcac("batches", "cancel", "x")
        made.hours_per_look = 30
        assert collect(tmp_path, server).answered == 8, "a run that begins after the cancel asks the rest"
        assert "no batch is under way" in orcac("batches", "list") and "87.00 USD" in orcac("batches", "list", "--all")
    listed = orcac("batches", "list", "--json")
    assert listed.strip() == "[]"
    assert made.billed == Counter({f"q{n}": 1 for n in range(8)})


def test_the_list_warns_of_a_provider_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    write_prompts(tmp_path, 2)
    made = Batches(troubles(("retrieve", 0, "401"), ("retrieve", 1, "401")), hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        with pytest.raises(EndpointError, match=r"auth: .*it is still running at the provider"):
            collect(tmp_path, server)
        said = orcac("batches", "list")
    assert "auth" in said and "at most" in said and KEY not in said
