"""The Batch API against a server that counts: what is sent twice, what is lost, what is billed."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from faults import FaultServer
from faults.batches import Batches, Call, Fate, Trouble
from jobs import collect_job, read_responses, write_prompts

from orcac.chat.batch import control as batch_control
from orcac.chat.batch import files as batch_files
from orcac.chat.batch import planner as batch
from orcac.chat.batch import provider as batch_provider
from orcac.chat.batch import steps as batch_steps
from orcac.chat.batch.files import batches
from orcac.chat.ledger.files import read_records
from orcac.chat.limits.budget import Budget
from orcac.chat.questions import Questions
from orcac.chat.settings import Azure, Price
from orcac.cli import cli
from orcac.collect.recipe import CollectSummary
from orcac.collect.run import run
from orcac.errors import EndpointError, InputError, OrcacError

KEY = "sk-a-secret-that-must-not-be-seen"
PRICE = Price(input=1e6, output=2e6)  # a dollar and two a token; half of that in a batch
ONE = (7 + 2 * 11) / 2  # USD for an answer in a batch
BOUND = ((2 + 16) + 2 * 1024) / 2  # USD for one at most; half a dollar more from `q10` on


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name, value in {"_POLL_S": 0.005, "_POLL_MOST_S": 0.005, "_SETTLE_S": 0.2}.items():
        monkeypatch.setattr(batch_steps, name, value)
    monkeypatch.setattr(batch, "_SHOW_S", 0.01)
    monkeypatch.setattr(batch, "_QUEUE_WAIT_S", 0.01)


def collect(folder: Path, server: FaultServer, **settings: Any) -> CollectSummary:
    return run(collect_job(folder, server.base_url, **{"mode": "batch", "price": PRICE, **settings}))


def all_answered_once(folder: Path, made: Batches, count: int) -> None:
    assert [row.response for row in read_responses(folder)] == [f"answer to q{n}" for n in range(count)]
    assert made.billed == Counter({f"q{n}": 1 for n in range(count)})
    keys = [record["key"] for record in read_records(folder / "answers")]
    assert len(keys) == len(set(keys)) == count


def of(*troubles: tuple[Call, int, Trouble]) -> Any:
    """A behaviour with these troubles at the n-th call of a kind."""
    table = {(call, number): trouble for call, number, trouble in troubles}
    return lambda call, before: table.get((call, before), "")


def test_a_batch_is_asked_priced_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        assert collect(tmp_path, server) == summary, "a second run asks nobody"
        assert collect(tmp_path, server, mode="online").usd == 20 * ONE, "what a batch cost does not change"
        assert len(made.created) == 1 and not server.asked
    all_answered_once(tmp_path, made, 20)
    (record,) = batches(tmp_path / "answers")
    assert (record.settled, record.status, record.answered, record.usd) == (True, "completed", 20, 20 * ONE)
    assert [path.name for path in (tmp_path / "answers" / "batches").glob("*/*") if "lease" not in path.name] == [
        "batch.json"
    ], "what is in the ledger is not kept twice"
    said = capsys.readouterr().err
    assert re.search(r"child  batch \w{16} \(batch_0\) submitted: 20 requests, at most [\d,.]+ USD", said)
    assert "completed: 20 answers, 290.00 USD" in said


def test_batches_are_cut_by_the_providers_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prompts(tmp_path / "few", 20)
    write_prompts(tmp_path / "small", 20)
    monkeypatch.setattr(batch_files, "MOST_REQUESTS", 7)
    made = Batches()
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path / "few", server)
        assert sorted(len(one.lines) for one in made.created.values()) == [6, 7, 7]
        uploaded = set(made.files)
        monkeypatch.setattr(batch_files, "MOST_BYTES", 1000)
        collect(tmp_path / "small", server)
    small = [made.files[one.input_file_id] for one in made.created.values() if one.input_file_id not in uploaded]
    assert len(small) == 4 and all(700 < len(content) <= 1000 for content in small)
    for one in made.created.values():
        assert len({line["custom_id"] for line in one.lines}) == len(one.lines)


# --- kills ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no handler but those of a real kill's next life may know of."""


class Killer:
    """Ends the run after the n-th thing that leaves the process or reaches the disk, which is before the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for place, names in {
            batch_provider.Provider: ("upload", "create", "find", "retrieve", "download"),
            batch_steps.Ledger: ("append",),
            batch_files: ("write", "drop"),
            Budget: ("hold", "release"),
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


def test_ended_after_every_step_nothing_is_sent_twice_or_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget_usd = 3 * BOUND + 1.5  # holds what one batch can cost, and not two
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
                held = spent(folder)
                assert held in (0, pytest.approx(3 * BOUND, abs=1.5), 3 * ONE), "all that may be billed, once"
                assert made.created.keys() <= known or held, "sent, and not held"
                collect(folder, server, budget_usd=budget_usd)
            assert spent(folder) == 3 * ONE, f"step {step}"
            known = set(made.created)
            assert len(made.created) == step + 1
            assert len(list(read_records(folder / "answers"))) == 3, f"step {step}"
            assert [row.response for row in read_responses(folder)] == [f"answer to q{n + 3 * step}" for n in range(3)]
            step += 1
    assert step > 12 and set(made.billed.values()) == {1}


def spent(folder: Path) -> float:
    return Budget(folder / "answers" / "budgets", 1.0).spent()


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
def test_killed_while_a_call_is_under_way(tmp_path: Path, call: Call, trouble: Trouble) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(of((call, 0, trouble)))
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert made.stuck.wait(30)
        child.kill()
        child.wait()
        collect(tmp_path, server)
    assert len(made.created) == 1
    all_answered_once(tmp_path, made, 5)


def start(folder: Path, server: FaultServer, **settings: float) -> subprocess.Popen[str]:
    child = Path(__file__).with_name("batch_child.py")
    arguments = [sys.executable, child, folder, server.base_url, json.dumps(settings)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def killed_once_submitted(folder: Path, server: FaultServer, **settings: float) -> None:
    """A run whose batch goes on without it."""
    child = start(folder, server, **settings)
    assert child.stderr and "submitted" in child.stderr.readline()
    child.kill()
    child.communicate()


def test_sigterm_leaves_at_once_and_the_batch_goes_on(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert child.stderr
        line = child.stderr.readline()
        assert "submitted: 10 requests" in line
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=10)
        assert child.returncode == EndpointError.exit_code == 4
        assert "SIGTERM: 1 batch goes on, 0 of 10 requests done" in said and "run the same command again" in said
        made.pass_hours(10)
        collect(tmp_path, server)
    assert len(made.created) == 1
    all_answered_once(tmp_path, made, 10)


# --- what a provider does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "troubles",
    [
        (("upload", 0, "500"), ("upload", 1, "dropped"), ("upload", 2, "deaf")),
        (("create", 0, "deaf"),),  # submitted, but the client never heard
        (("create", 0, "deaf"), ("list", 0, "500")),
        (("create", 0, "dropped"), ("create", 1, "500"), ("create", 2, "429")),
        (("retrieve", 0, "500"), ("retrieve", 1, "dropped"), ("retrieve", 2, "429")),
        (("content", 0, "half"), ("content", 1, "500"), ("content", 2, "dropped")),
    ],
)
def test_calls_that_fail_are_made_again_and_a_batch_is_not(
    tmp_path: Path, troubles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_steps.random, "uniform", lambda low, high: 0.0)
    write_prompts(tmp_path, 5)
    made = Batches(of(*troubles), forget_metadata=troubles[-1][0] == "list")
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    assert len(made.created) == 1 and made.calls[troubles[0][0]] > 1 - (troubles[0][2] == "deaf")
    all_answered_once(tmp_path, made, 5)


def test_what_expired_is_asked_again_in_a_batch(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=4, hours_per_look=13)  # 6 of 10 are answered in 24 hours
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    assert [len(one.lines) for one in made.created.values()] == [10, 4]
    all_answered_once(tmp_path, made, 10)


@pytest.mark.parametrize("mode", ["batch", "auto"])
def test_a_model_with_another_name_for_the_cap_is_asked_by_that_name(
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
    assert [len(one.lines) for one in (first, again, later)] == [5, 5, 4], "the next run knows"
    assert made.billed == Counter({f"q{n}": 1 for n in range(9)})
    assert "the model refuses max_tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "fate"),
    [("batch", "500"), ("batch", "malformed"), ("auto", "500"), ("auto", "malformed"), ("auto", "silence")],
)
def test_a_question_whose_key_ends_in_zeros_is_left_like_any_other(tmp_path: Path, mode: str, fate: Fate) -> None:
    """NumPy strips zeros from the end of what it holds as bytes."""
    questions = Questions(collect_job(tmp_path, "http://x", mode=mode).recipe.template, list)
    number = next(n for n in range(10_000) if questions.request(system="", user=f"q{n}").key.endswith("00"))
    write_prompts(tmp_path, 3, first=number - 1)
    made = Batches(fate=lambda text: fate if text == f"q{number}" else "")
    with FaultServer(mount=made.mount) as server:
        summary = collect(tmp_path, server, mode=mode, attempts=3)
        assert set(server.asked) == ({f"q{number}"} if mode == "auto" else set())
    assert [len(one.lines) for one in made.created.values()] == [3, 1, 1][: 3 if mode == "batch" else 1]
    assert summary.answered == (3 if mode == "auto" else 2)


def test_online_does_not_pay_for_what_a_batch_is_paid_for(tmp_path: Path) -> None:
    write_prompts(tmp_path, 6)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        killed_once_submitted(tmp_path, server)
        with pytest.raises(EndpointError, match="6 of 6 questions stand in batches that go on") as caught:
            collect(tmp_path, server, mode="online")
        assert "orcac batches cancel" in caught.value.fix and not server.asked
        made.pass_hours(4)
        (record,) = batches(tmp_path / "answers")
        asyncio.run(batch_control.cancel(tmp_path / "answers", record.id))
        made.pass_hours(1)
        assert collect(tmp_path, server, mode="online").answered == 6
        assert server.billed == Counter({"q4": 1, "q5": 1}), "the batch had answered the others"
    all_billed = made.billed + server.billed
    assert all_billed == Counter({f"q{n}": 1 for n in range(6)})


def test_a_batch_that_no_run_needs_any_more_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    write_prompts(tmp_path, 5)
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        killed_once_submitted(tmp_path, server, budget_usd=1e6)
        made.pass_hours(5)
        assert "no batch is under way" in orcac("batches", "list")
    assert len(list(read_records(tmp_path / "answers"))) == 5 and spent(tmp_path) == 5 * ONE


def test_auto_asks_online_what_the_batch_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert "child  server: HTTP 500" in batches and "12/12" not in batches, "why, and not as the end"
    assert online.startswith("child  12/12 answers  100 %") and "failed: 1 context_overflow" in online


def test_auto_that_was_stopped_while_it_asked_online_needs_no_further_batch(tmp_path: Path) -> None:
    write_prompts(tmp_path, 12)
    made = Batches(hours_each=2.4, hours_per_look=13)  # 10 of 12
    with FaultServer(lambda question, before: "" if before else "401", mount=made.mount) as server:
        with pytest.raises(EndpointError, match="auth"):
            collect(tmp_path, server, mode="auto")
        assert collect(tmp_path, server, mode="auto", concurrency=1).answered == 12
    assert len(made.created) == 1 and server.billed.total() == 2


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
        ({"behaviour": of(("create", 0, "401"))}, r"auth: HTTP 401: .*\*\*\*", "OPENAI_API_KEY"),
    ],
)
def test_what_a_person_must_mend_stops_and_goes_on_afterwards(tmp_path: Path, setup: Any, said: str, fix: str) -> None:
    write_prompts(tmp_path, 5)
    with FaultServer(mount=Batches(**setup).mount) as server:
        with pytest.raises(EndpointError, match=said) as caught:
            collect(tmp_path, server)
        assert fix in caught.value.fix and KEY not in str(caught.value)
    made = Batches()
    with FaultServer(mount=made.mount) as server:
        for path in (tmp_path / "answers" / "batches").glob("*/batch.json"):  # the next server has another port
            path.write_text(re.sub(r"http://[\d.:]+/v1", server.base_url, path.read_text()))
        assert collect(tmp_path, server).answered == 5
    assert made.billed.total() == (1 if "quota" in said else 5)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_queue_that_is_too_small_gets_smaller_batches_in_turn(tmp_path: Path) -> None:
    write_prompts(tmp_path, 40)
    made = Batches(queue_tokens=60)  # which it counts in its own way: 6 a request, and we guess 5
    with FaultServer(mount=made.mount) as server:
        collect(tmp_path, server)
    ran = [one for one in made.created.values() if one.status == "completed"]
    assert len(ran) >= 4 and len(made.created) - len(ran) <= 2
    all_answered_once(tmp_path, made, 40)


@pytest.mark.parametrize("lost", ["batch", "file"])
def test_what_the_provider_has_lost_is_reported_and_can_be_given_up(tmp_path: Path, lost: str) -> None:
    write_prompts(tmp_path, 5)
    made = Batches(of(("retrieve" if lost == "batch" else "content", 0, "hangs")))
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert made.stuck.wait(30)
        child.kill()
        child.wait()
        (made.created if lost == "batch" else made.files).clear()
        for _ in range(2):
            with pytest.raises(EndpointError, match=r"5 requests, at most .* USD: .*(know|gone)") as caught:
                collect(tmp_path, server)
        (record,) = batches(tmp_path / "answers")
        assert f"orcac batches cancel {record.id}" in caught.value.fix and not record.settled
        assert "is given up" in asyncio.run(batch_control.cancel(tmp_path / "answers", record.id))
        assert collect(tmp_path, server).answered == 5


def test_cancelling_a_batch_that_seems_lost_gives_up_what_is_still_lost_alone(tmp_path: Path) -> None:
    write_prompts(tmp_path, 5)
    made, answers = Batches(hours_each=1, hours_per_look=0.0), tmp_path / "answers"

    def cancel() -> str:
        (record,) = batches(answers)
        return asyncio.run(batch_control.cancel(answers, record.id))

    with FaultServer(mount=made.mount) as server:
        killed_once_submitted(tmp_path, server)
        hidden, made.created = made.created, {}
        with pytest.raises(EndpointError, match="the provider does not know it") as caught:
            cancel()
        assert "gives it up" in caught.value.fix and batches(answers)[0].lost
        made.created = hidden  # the key was another project's
        made.pass_hours(5)
        assert "it is taken in: 5 answers" in cancel()
        assert collect(tmp_path, server).answered == 5
    assert len(made.created) == 1
    all_answered_once(tmp_path, made, 5)


def test_a_cancelled_batch_is_taken_in_and_stops_the_run(tmp_path: Path) -> None:
    write_prompts(tmp_path, 10)
    made = Batches(hours_each=2, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        child = start(tmp_path, server)
        assert child.stderr and "submitted" in child.stderr.readline()
        made.pass_hours(8)
        (record,) = batches(tmp_path / "answers")
        assert "cancelling" in asyncio.run(batch_control.cancel(tmp_path / "answers", record.id))
        _, said = child.communicate(timeout=10)
        assert child.returncode == 4 and "was cancelled: 6 of its 10 requests have no answer" in said
        made.hours_per_look = 30
        collect(tmp_path, server)
    assert [len(one.lines) for one in made.created.values()] == [10, 6]
    all_answered_once(tmp_path, made, 10)


def test_the_command_lists_and_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    write_prompts(tmp_path, 8)
    made = Batches(hours_each=2, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        assert "no batch is under way" in orcac("batches", "list")
        killed_once_submitted(tmp_path, server)
        made.pass_hours(12)
        (shown,) = json.loads(orcac("batches", "list", "--json"))
        assert (shown["status"], shown["done"], shown["requests"]) == ("in_progress", 6, 8)
        listed = orcac("batches", "list")
        assert all(len(line) <= 80 for line in listed.splitlines()) and "1 under way: 8 requests, at most" in listed
        assert "is cancelling" in orcac("batches", "cancel", shown["id"][:5])
        with pytest.raises(InputError, match="0 batches"):
            orcac("batches", "cancel", "x")
        made.hours_per_look = 30
        assert collect(tmp_path, server).answered == 8, "a run that begins after the cancel asks the rest"
        assert "no batch is under way" in orcac("batches", "list") and "87.00 USD" in orcac("batches", "list", "--all")
    listed = orcac("batches", "list", "--json")
    assert listed.strip() == "[]"
    assert made.billed == Counter({f"q{n}": 1 for n in range(8)})


def test_the_list_says_what_it_cannot_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    write_prompts(tmp_path, 2)
    made = Batches(of(("retrieve", 0, "401"), ("retrieve", 1, "401")), hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        with pytest.raises(EndpointError, match=r"auth: .*it goes on at the provider"):
            collect(tmp_path, server)
        said = orcac("batches", "list")
    assert "auth" in said and "at most" in said and KEY not in said


def orcac(*line: str) -> str:
    result = CliRunner().invoke(cli, list(line), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


# --- sharing and money ------------------------------------------------------------------------------------------------


def test_two_runs_never_ask_one_question_twice(tmp_path: Path) -> None:
    """Two datasets that overlap, at the same moment, on one ledger."""
    write_prompts(tmp_path / "one", 20)
    write_prompts(tmp_path / "two", 20, first=10)
    (tmp_path / "answers").mkdir()
    for name in ("one", "two"):
        (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
    made = Batches(hours_each=1)
    with FaultServer(mount=made.mount) as server:
        for child in [start(tmp_path / name, server) for name in ("one", "two")]:
            _, said = child.communicate(timeout=60)
            assert child.returncode == 0, said
    assert made.billed == Counter({f"q{n}": 1 for n in range(30)})
    assert len(read_responses(tmp_path / "one")) == len(read_responses(tmp_path / "two")) == 20


def test_the_budget_is_reserved_before_a_batch_is_sent(tmp_path: Path) -> None:
    write_prompts(tmp_path, 30)
    made = Batches()
    budget = BOUND + 5 * ONE
    with FaultServer(mount=made.mount) as server:
        with pytest.raises(EndpointError, match=r"budget of .* holds no further batch") as caught:
            collect(tmp_path, server, budget_usd=budget)
        assert made.billed.total() == 6, "after five answers a sixth fits, whatever it will cost, and no seventh"
        assert "raise `budget` by about 348.00 USD" in caught.value.fix
        before = made.billed.copy()
        collect(tmp_path, server, budget_usd=1e6)
    assert all(made.billed[question] == 1 for question in before)
    all_answered_once(tmp_path, made, 30)


def test_a_budget_that_is_nearly_spent_sends_no_tiny_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch, "_WORTH", 0.2)
    write_prompts(tmp_path, 20)
    made = Batches()
    with (
        FaultServer(mount=made.mount) as server,
        pytest.raises(EndpointError, match=r"holds no further batch .* each at most [\d,.]+ USD"),
    ):
        collect(tmp_path, server, budget_usd=4 * (BOUND + 1))
    assert [len(one.lines) for one in made.created.values()] == [4], "three more would fit"
    assert "the budget has room for 4 requests, at what they can cost at most" in capsys.readouterr().err


def test_two_runs_of_one_budget_wait_for_what_the_other_holds(tmp_path: Path) -> None:
    """Each batch holds nearly all of it: the second run goes on with what the first one's batch gives back."""
    (tmp_path / "answers").mkdir()
    made = Batches(hours_each=1, hours_per_look=0.0)
    with FaultServer(mount=made.mount) as server:
        for name, first in (("one", 0), ("two", 5)):
            write_prompts(tmp_path / name, 5, first=first)
            (tmp_path / name / "answers").symlink_to(tmp_path / "answers")
        budget = {"budget_usd": 6 * BOUND}
        child = start(tmp_path / "one", server, **budget)
        assert child.stderr and "submitted" in child.stderr.readline()
        child.kill()  # its batch goes on, and keeps what it can cost
        child.communicate()
        assert spent(tmp_path) == pytest.approx(5 * BOUND)
        made.hours_per_look = 30
        assert collect(tmp_path / "two", server, **budget).answered == 5
    assert made.billed == Counter({f"q{n}": 1 for n in range(10)})
    assert spent(tmp_path) == 10 * ONE


def test_azure_is_asked_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    azure = {"api_version": "2024-10-21", "deployment": "mine"}
    where = {"api_key_env": "AZURE_OPENAI_API_KEY", "azure": Azure(**azure)}
    write_prompts(tmp_path, 5)
    made = Batches(root="/openai")
    with FaultServer(mount=made.mount) as server:
        address = server.base_url.removesuffix("/v1")
        assert run(collect_job(tmp_path, address, mode="batch", **where)).answered == 5
    all_answered_once(tmp_path, made, 5)
    (sent,) = made.created.values()
    assert {(line["url"], line["body"]["model"]) for line in sent.lines} == {("/chat/completions", "mine")}
    assert batches(tmp_path / "answers")[0].azure == azure
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_record_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    write_prompts(tmp_path, 2)
    folder = tmp_path / "answers" / "batches" / "x"
    folder.mkdir(parents=True)
    (folder / "batch.json").write_text('{"id": 1}')
    with FaultServer(mount=Batches().mount) as server, pytest.raises(OrcacError, match=r"batch\.json: the record is"):
        collect(tmp_path, server)
