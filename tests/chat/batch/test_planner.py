"""Tests of orcac/chat/batch/planner.py.

A fault server counts the requests that are sent twice, lost or billed.
"""

from __future__ import annotations

import dataclasses
import re
import signal
from collections import Counter
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
    submit_and_kill,
    troubles,
    wait_until_submitted,
)
from faults import FaultServer, Reply
from faults.batches import Batches, Fate
from jobs import collect_job, read_responses, run_collect, write_prompts
from patience import PATIENCE_S

from orcac.chat.batch.files import read_batches
from orcac.chat.batch.tuning import Tuning
from orcac.chat.questions import Questions
from orcac.chat.settings import Sampling
from orcac.collect.recipe import CollectSummary
from orcac.errors import EndpointError


def test_a_batch_is_asked_priced_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts(tmp_path, 20)
    made = Batches(hours_each=0.5)
    with FaultServer(mount=made.mount) as server:
        summary = collect(tmp_path, server)
        assert summary.as_json() == {
            "prompts": 20,
            "answered": 20,
            "failed": {},
            "input_tokens": 140,
            "output_tokens": 220,
            "usd": 20 * ONE,
        }
        assert collect(tmp_path, server) == summary, "a second run asks nothing"
        assert collect(tmp_path, server, mode="online").usd == 20 * ONE, "in another mode it still costs as little"
        assert len(made.created) == 1 and not server.asked
    assert_answered_once(tmp_path, made, 20)
    (record,) = read_batches(tmp_path / "answers")
    assert (record.settled, record.status, record.answered, record.usd) == (True, "completed", 20, 20 * ONE)
    assert [path.name for path in (tmp_path / "answers" / "batches").glob("*/*") if "lease" not in path.name] == [
        "batch.json"
    ], "requests and answers that are in the ledger are deleted here"
    said = capsys.readouterr().err
    assert re.search(r"child  batch \w{16} \(batch_0\) submitted: 20 requests, at most [\d,.]+ USD", said)
    assert "completed: 20 answers, 290.00 USD" in said


def test_batches_are_split_at_the_largest_sizes(tmp_path: Path) -> None:
    write_prompts(tmp_path / "few", 20)
    write_prompts(tmp_path / "small", 20)
    made = Batches()
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path / "few", server, {"max_requests": 7})
        assert sorted(len(one.lines) for one in made.created.values()) == [6, 7, 7]
        uploaded = set(made.files)
        collect(tmp_path / "small", server, {"max_requests": 7, "max_bytes": 1000})
    small = [made.files[one.input_file_id] for one in made.created.values() if one.input_file_id not in uploaded]
    assert len(small) == 4 and all(700 < len(content) <= 1000 for content in small)
    for one in made.created.values():
        assert len({line["custom_id"] for line in one.lines}) == len(one.lines)


def test_sigterm_ends_the_run_at_once_and_the_batch_keeps_running(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        wait_until_submitted(child)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=PATIENCE_S)
        assert child.returncode == EndpointError.exit_code == 4
        assert "SIGTERM: 1 batch running, 0 of 10 requests done" in said and "run the same command again" in said
        made.pass_hours(10)
        collect(tmp_path, server)
    assert len(made.created) == 1
    assert_answered_once(tmp_path, made, 10)


def test_expired_requests_are_asked_again_in_a_batch(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=4, hours_per_look=13)  # 6 of 10 are answered in 24 hours
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    assert [len(one.lines) for one in made.created.values()] == [10, 4]
    assert_answered_once(tmp_path, made, 10)


@pytest.mark.parametrize("mode", ["batch", "auto"])
def test_a_model_with_another_name_for_max_tokens_is_asked_with_that_name(
    tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prompts(tmp_path / "one", 5)
    write_prompts(tmp_path / "two", 4, first=5)
    made = Batches(fate=lambda question: "renamed")
    with FaultServer(mount=made.mount) as server:
        assert collect(tmp_path / "one", server, mode=mode).answered == 5
        (tmp_path / "two" / "answers").symlink_to(tmp_path / "one" / "answers")
        collect(tmp_path / "two", server, mode=mode)
        assert not server.asked, "in a batch, not online"
    first, again, later = made.created.values()
    assert all("max_tokens" in line["body"] for line in first.lines)
    for line in (*again.lines, *later.lines):
        assert line["body"]["max_completion_tokens"] == 1024 and "max_tokens" not in line["body"]
    assert [len(one.lines) for one in (first, again, later)] == [5, 5, 4], "the next run leaves it out from the start"
    assert made.billed == Counter({f"q{n}": 1 for n in range(9)})
    assert "sent again without max_tokens, which the model refuses" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "fate"),
    [("batch", "500"), ("batch", "malformed"), ("auto", "500"), ("auto", "malformed"), ("auto", "silence")],
)
def test_a_key_that_ends_in_zeros_can_be_left_unanswered(tmp_path: Path, mode: str, fate: Fate) -> None:
    """NumPy strips zeros from the end of its byte strings."""
    questions = Questions(collect_job(tmp_path, "http://x", mode=mode).recipe.template, list)
    number = next(n for n in range(10_000) if questions.request(system="", user=f"q{n}").key.endswith("00"))
    write_prompts(tmp_path, 3, first=number - 1)
    made = Batches(fate=lambda text: fate if text == f"q{number}" else "")
    with FaultServer(mount=made.mount) as server:
        summary = collect(tmp_path, server, mode=mode, attempts=3)
        assert set(server.asked) == ({f"q{number}"} if mode == "auto" else set())
    assert [len(one.lines) for one in made.created.values()] == [3, 1, 1][: 3 if mode == "batch" else 1]
    assert summary.answered == (3 if mode == "auto" else 2)


def test_auto_asks_unanswered_requests_online(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fates: dict[str, Fate] = {"q0": "500", "q1": "malformed", "q2": "torn", "q3": "silence", "q4": "400"}
    write_prompts(tmp_path, 12)
    made = Batches(fate=lambda question: fates.get(question, ""), hours_each=2.4, hours_per_look=13)  # 10 of 12
    with FaultServer(mount=made.mount) as server:
        summary = collect(tmp_path, server, mode="auto")
        assert set(server.asked) == {"q0", "q1", "q2", "q3", "q10", "q11"} and server.billed.total() == 6
    assert len(made.created) == 1
    assert (summary.answered, summary.failed) == (11, {"context_overflow": 1})
    assert summary.usd == 5 * ONE + 6 * 2 * ONE, "each at its own price"
    said = capsys.readouterr().err
    batches, _, online = said.partition("child  6 of 12 requests are left by batches, and are asked online\n")
    assert "child  server: HTTP 500" in batches and "12/12" not in batches, "the reason, and not as the end of the run"
    assert online.startswith("child  12/12 answers  100 %") and "failed: 1 context_overflow" in online


def test_auto_sends_no_further_batch_after_a_stop_while_asking_online(tmp_path: Path) -> None:
    write_prompts(tmp_path, 12)
    made = Batches(hours_each=2.4, hours_per_look=13)  # 10 of 12
    with FaultServer(lambda question, before: "" if before else "401", mount=made.mount) as server:
        with pytest.raises(EndpointError, match="auth"):
            collect(tmp_path, server, mode="auto")
        assert collect(tmp_path, server, mode="auto", concurrency=1).answered == 12
    assert len(made.created) == 1 and server.billed.total() == 2


def test_a_fixed_sampling_is_asked_for_online_after_a_batch(tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    made = Batches(fate=lambda question: "fixed")

    def collect_greedily(**settings: Any) -> CollectSummary:
        job = collect_job(tmp_path, server.base_url, **settings)
        recipe = job.recipe.model_copy(update={"sampling": Sampling(temperature=0)})
        return run_collect(dataclasses.replace(job, recipe=recipe), Tuning(**QUICK))

    with FaultServer(lambda question, before: "fixed sampling", mount=made.mount) as server:
        with pytest.raises(EndpointError, match=r"unsupported.*temperature") as caught:
            collect_greedily(mode="batch", may_omit=True)
        assert "set `mode: auto`" in caught.value.fix
        with pytest.raises(EndpointError) as caught:
            collect_greedily(mode="batch")
        assert "remove `temperature`" in caught.value.fix and not server.asked
        summary = collect_greedily(mode="auto", may_omit=True)
    assert (summary.answered, summary.omitted) == (3, {"temperature": 3})


def test_a_request_that_fails_in_every_batch_is_a_typed_failure(tmp_path: Path) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(fate=lambda question: "500" if question == "q3" else "")
    with FaultServer(mount=made.mount) as server:
        summary = collect(tmp_path, server, attempts=3)
        assert not server.asked
    assert [len(one.lines) for one in made.created.values()] == [5, 1, 1]
    assert (summary.answered, summary.failed) == (4, {"not_answered": 1})


@pytest.mark.parametrize(
    ("setup", "said", "fix"),
    [
        ({"refuse": {"code": "model_not_found", "message": "no model m"}}, "failed: model_not_found: no model m", ""),
        ({"hours_each": 1e9, "hours_per_look": 25}, "brought no answer: 5 of 5 requests are left", "mode: auto"),
        ({"fate": lambda question: "quota" if question == "q2" else ""}, "quota: HTTP 429: no credit", "add credit"),
        ({"behaviour": troubles(("create", 0, "401"))}, r"auth: HTTP 401: .*\*\*\*", "OPENAI_API_KEY"),
    ],
)
def test_a_run_stops_if_a_person_must_act_and_then_continues(tmp_path: Path, setup: Any, said: str, fix: str) -> None:
    write_prompts(tmp_path, 5)
    with FaultServer(mount=Batches(**setup).mount) as server:
        with pytest.raises(EndpointError, match=said) as caught:
            collect(tmp_path, server)
        assert fix in caught.value.fix and KEY not in str(caught.value)
    made = Batches()
    with FaultServer(mount=made.mount) as server:
        for path in (tmp_path / "answers" / "batches").glob("*/batch.json"):  # the next server has another port
            changed = re.sub(r"http://[\d.:]+/v1", server.base_url, path.read_text())
            path.write_text(re.sub(r',"crc":"\w+"}', "}", changed))
        assert collect(tmp_path, server).answered == 5
    assert made.billed.total() == (1 if "quota" in said else 5)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_small_queue_gets_small_batches_one_after_another(tmp_path: Path) -> None:
    write_prompts(tmp_path, 40)
    made = Batches(queue_tokens=60)  # which it counts in its own way: 6 a request, and we guess 5
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    ran = [one for one in made.created.values() if one.status == "completed"]
    assert len(ran) >= 4 and len(made.created) - len(ran) <= 2
    assert_answered_once(tmp_path, made, 40)


def test_two_runs_never_ask_one_question_twice(tmp_path: Path) -> None:
    """Two datasets that overlap are collected at the same moment, on one ledger."""
    write_prompts(tmp_path / "one", 20)
    write_prompts(tmp_path / "two", 20, first=10)
    (tmp_path / "answers").mkdir()
    for name in ("one", "two"):
        (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
    made = Batches(hours_each=1)
    with FaultServer(mount=made.mount) as server:
        for child in [start(tmp_path / name, server) for name in ("one", "two")]:
            _, said = child.communicate(timeout=PATIENCE_S)
            assert child.returncode == 0, said
    assert made.billed == Counter({f"q{n}": 1 for n in range(30)})
    assert len(read_responses(tmp_path / "one")) == len(read_responses(tmp_path / "two")) == 20


def test_the_cost_of_a_batch_is_claimed_before_it_is_sent(tmp_path: Path) -> None:
    write_prompts(tmp_path, 30)
    made = Batches()
    budget = BOUND + 5 * ONE
    with FaultServer(mount=made.mount) as server:
        with pytest.raises(EndpointError, match=r"budget of .* holds no further batch") as caught:
            collect(tmp_path, server, budget_usd=budget)
        assert made.billed.total() == 6, "after five answers there is room for the bound of a sixth"
        assert "raise `budget` by about 348.00 USD" in caught.value.fix
        before = made.billed.copy()
        collect(tmp_path, server, budget_usd=1e6)
    assert all(made.billed[question] == 1 for question in before)
    assert_answered_once(tmp_path, made, 30)


def test_a_budget_that_is_nearly_spent_sends_no_tiny_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prompts(tmp_path, 20)
    made = Batches()
    with (
        FaultServer(mount=made.mount) as server,
        pytest.raises(EndpointError, match=r"holds no further batch .* each at most [\d,.]+ USD"),
    ):
        collect(tmp_path, server, {"min_share": 0.2}, budget_usd=4 * (BOUND + 1))
    assert [len(one.lines) for one in made.created.values()] == [4], "three more would fit"
    assert "the budget has room for 4 requests at the most that they can cost" in capsys.readouterr().err


def test_the_first_batch_under_a_budget_shows_all_runs_how_the_server_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers").mkdir()
    made = Batches(hours_each=0.01)
    with FaultServer(mount=made.mount) as server:
        for name, first, count in (("one", 0, 60), ("two", 60, 30)):
            write_prompts(tmp_path / name, count, first=first)
            (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
            assert collect(tmp_path / name, server, budget_usd=1e6).answered == count
    assert [len(one.lines) for one in made.created.values()] == [10, 50, 30]
    assert "the first batch has 10 requests; the other 50 wait for it" in capsys.readouterr().err


def test_a_server_that_ignores_max_tokens_exceeds_a_budget_by_the_first_batch_at_most(tmp_path: Path) -> None:
    """Each answer has 3,000 output tokens, of 1,024 that are allowed. A later run knows it from the start."""
    (tmp_path / "answers").mkdir()
    message = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3000, "total_tokens": 3007}
    made = Batches(hours_each=0.01, fate=lambda question: Reply({"choices": [message], "usage": usage}, bills=True))
    each, enlarged = (7 + 2 * 3000) / 2, BOUND + 2 * (3000 - 1024)
    with FaultServer(mount=made.mount) as server:
        for name, first, budget in (("one", 0, 60 * BOUND), ("two", 60, 60 * BOUND + 5.5 * enlarged)):
            write_prompts(tmp_path / name, 60, first=first)
            (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
            before = len(made.created)
            with pytest.raises(EndpointError, match="holds no further batch"):
                collect(tmp_path / name, server, budget_usd=budget)
            assert made.billed.total() * each <= budget
            sizes = [len(one.lines) for one in made.created.values()][before:]
            assert sizes[0] == 10 if name == "one" else sizes[0] < 8
    assert made.billed.total() * each > 0.9 * 60 * BOUND


def test_a_run_waits_for_the_budget_that_the_batch_of_another_run_holds(tmp_path: Path) -> None:
    """Each batch needs nearly the whole budget: the second run waits until the first one's batch releases its claim."""
    (tmp_path / "answers").mkdir()
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        for name, first in (("one", 0), ("two", 5)):
            write_prompts(tmp_path / name, 5, first=first)
            (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
        budget = {"budget_usd": 6 * BOUND}
        submit_and_kill(tmp_path / "one", server, **budget)
        assert spent_usd(tmp_path) == pytest.approx(5 * BOUND)
        made.hours_per_look = 30
        assert collect(tmp_path / "two", server, **budget).answered == 5
    assert made.billed == Counter({f"q{n}": 1 for n in range(10)})
    assert spent_usd(tmp_path) == 10 * ONE
