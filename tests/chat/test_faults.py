"""Tests of orcac/chat/engine.py and orcac/chat/endpoints/openai.py, with real sockets and processes.

A fault server counts the attempts and the answers that it would bill.
"""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from faults import Fault, FaultServer
from jobs import IN_FLIGHT, collect_job, read_responses, write_prompts
from patience import PATIENCE_S

from orcac import rows
from orcac.chat.ledger.files import read_records
from orcac.chat.settings import Price, Sampling
from orcac.collect.run import run
from orcac.errors import EndpointError
from orcac.rows import Prompt

KEY = "sk-a-secret-that-must-not-be-seen"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")  # a key that is read from a file brings its line end


def read_questions(folder: Path) -> set[str]:
    """Return the questions with an answer in the ledger."""
    return {record["request"]["messages"][-1][1] for record in read_records(folder / "answers")}


def start(folder: Path, server: FaultServer) -> subprocess.Popen[bytes]:
    child = Path(__file__).with_name("child.py")
    return subprocess.Popen([sys.executable, child, folder, server.base_url], stderr=subprocess.DEVNULL)


def wait_until_billed(server: FaultServer, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while server.billed.total() < count:
        assert time.monotonic() < deadline, f"{server.billed.total()} of {count} answered"
        time.sleep(0.002)


def test_kills_at_any_moment_lose_no_answer_and_pay_none_twice(tmp_path: Path) -> None:
    count, kills = 2000, 6
    write_prompts(tmp_path, count)
    with FaultServer(latency_s=0.005) as server:
        for kill in range(1, kills + 1):
            child = start(tmp_path, server)
            wait_until_billed(server, server.billed.total() + random.randint(1, 300))
            child.kill()
            child.wait()
            kept = read_questions(tmp_path)
            time.sleep(0.05)  # requests that the dead client had sent are answered, and billed
            before = server.billed.copy()
            assert before.total() - len(kept) <= kill * IN_FLIGHT
        run(collect_job(tmp_path, server.base_url))
        assert all(server.billed[question] == before[question] for question in kept), "a recorded answer was paid again"
        assert server.billed.total() <= count + kills * IN_FLIGHT
    assert [row.response for row in read_responses(tmp_path)] == [f"answer to q{n}" for n in range(count)]


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_waits_for_requests_in_flight_and_nothing_is_paid_twice(tmp_path: Path, times: int) -> None:
    """The signal may come twice: to the whole process group, and again from the process that started it."""
    write_prompts(tmp_path, 300)
    with FaultServer(latency_s=0.1) as server:
        child = start(tmp_path, server)
        wait_until_billed(server, 60)
        server.is_held = True
        for _ in range(times):
            child.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        server.is_held = False
        assert child.wait(PATIENCE_S) != 0
        assert len(read_questions(tmp_path)) == server.billed.total() < 300
        run(collect_job(tmp_path, server.base_url))
        assert set(server.billed.values()) == {1} and len(server.billed) == 300


def test_under_mixed_faults_every_row_is_an_answer_or_a_typed_failure(tmp_path: Path) -> None:
    faults: list[Fault] = ["500", "503", "malformed", "dropped"]
    pushed_back: dict[int, Fault] = {12: "429", 60: "429 with Retry-After", 120: "429 with retry-after-ms"}

    def behaviour(question: str, before: int) -> Fault:
        number = int(question[1:])
        if number % 50 == 7:
            return "400"
        if number == 33:
            return "500"  # always
        if before or number % 3:
            return ""
        return pushed_back.get(number) or faults[number % 4]

    write_prompts(tmp_path, 200)
    with FaultServer(behaviour) as server:
        summary = run(collect_job(tmp_path, server.base_url, attempts=3, price=Price(input=1.0, output=2.0)))
        assert summary.as_json() == {
            "prompts": 200,
            "answered": 195,
            "failed": {"context_overflow": 4, "server": 1},
            "input_tokens": 195 * 7,
            "output_tokens": 195 * 11,
            "usd": pytest.approx(195 * (7 + 22) / 1e6),
        }
        assert [server.asked[f"q{n}"] for n in (1, 7, 33)] == [1, 1, 3], "answered, refused, always failing"
    answered = read_responses(tmp_path)
    assert [row.id for row in answered] == [f"{n:020x}" for n in range(200)]
    for number, row in enumerate(answered):
        expected = "context_overflow" if number % 50 == 7 else "server" if number == 33 else ""
        assert (row.error, row.response) == (expected, "" if expected else f"answer to q{number}")
        assert row.finish_reason == ("" if expected else "stop")


def test_a_second_run_asks_only_requests_that_failed_in_transport(tmp_path: Path) -> None:
    write_prompts(tmp_path, 50)
    with FaultServer(lambda question, before: {"q3": "500", "q40": "400"}.get(question, "")) as server:
        run(collect_job(tmp_path, server.base_url, attempts=2))
    with FaultServer() as server:
        run(collect_job(tmp_path, server.base_url))
        assert server.asked == Counter({"q3": 1})
    assert [row.error for row in read_responses(tmp_path) if row.error] == ["context_overflow"]
    run(collect_job(tmp_path, "http://127.0.0.1:9/v1"))  # no server listens there, and no request is sent


def test_refusals_of_all_requests_make_no_artifact_and_are_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prompts(tmp_path, 5)
    for fault in ("422", "400"):
        with (
            FaultServer(lambda question, before, fault=fault: fault) as server,
            pytest.raises(EndpointError, match=r"none of 5 prompts was answered: 5 ") as caught,
        ):
            run(collect_job(tmp_path, server.base_url))
        message = "Extra inputs are not permitted: top_k" if fault == "422" else "maximum context length is 4097"
        assert message in caught.value.message and capsys.readouterr().err.count(message) == 1
    with FaultServer() as server:
        assert run(collect_job(tmp_path, server.base_url)).answered == 5


def test_equal_questions_count_once_and_answers_without_usage_cost_their_bound(tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    (tmp_path / "other").mkdir()
    again = [Prompt(id=f"other {n}", source="o", task="t", query=f"q{n}", system_id=1, system="") for n in range(3)]
    rows.write(tmp_path / "other" / "prompts.parquet", Prompt, again)
    price = Price(input=1e6, output=2e6)
    with FaultServer(lambda question, before: "uncounted" if question == "q2" else "") as server:
        made = collect_job(tmp_path, server.base_url, price=price)
        made = dataclasses.replace(made, inputs={"prompts": [tmp_path / "prompts", tmp_path / "other"]})
        assert run(made).as_json() == {
            "prompts": 6,
            "answered": 6,
            "failed": {},
            "input_tokens": 2 * 7,
            "output_tokens": 2 * 11,
            "usd": 2 * (7 + 2 * 11) + (len("q2") + 16 + 2 * 1024),
        }
        assert server.billed.total() == 3


def test_a_refused_key_stops_at_once_and_is_never_shown(tmp_path: Path) -> None:
    write_prompts(tmp_path, 200)
    with (
        FaultServer(lambda question, before: "401" if question == "q5" else "") as server,
        pytest.raises(EndpointError) as caught,
    ):
        run(collect_job(tmp_path, server.base_url))
    assert server.asked["q5"] == 1 and server.asked.total() <= 2 * IN_FLIGHT
    assert len(read_questions(tmp_path)) == server.billed.total(), "answers that were in flight are kept"
    shown = f"{caught.value} {caught.value!r}"
    assert f"{server.base_url}/, model m: auth" in shown and "OPENAI_API_KEY" in shown and "***" in shown
    linked: BaseException | None = caught.value
    while linked:
        assert KEY not in f"{linked} {linked!r}"
        linked = linked.__cause__ or linked.__context__
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    write_prompts(tmp_path, 5)
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1/, model m: unreachable"):
        run(collect_job(tmp_path, "http://127.0.0.1:9/v1", attempts=2))


def test_the_server_bills_no_more_than_the_budget(tmp_path: Path) -> None:
    write_prompts(tmp_path, 200)
    price = Price(input=0.0, output=1e6 / 11)  # an answer costs 1 USD, and 1,024 / 11 USD at most
    with FaultServer(lambda question, before: "dropped" if question == "q2" and not before else "") as server:
        with pytest.raises(EndpointError, match=r"budget of 250.00 USD"):
            run(collect_job(tmp_path, server.base_url, price=price, budget_usd=250.0, budget_name="x"))
        assert 50 < server.billed.total() <= 250


def test_a_minute_limit_that_is_worded_as_a_quota_slows_down(tmp_path: Path) -> None:
    write_prompts(tmp_path, 20)
    with FaultServer(lambda question, before: "" if before else "minute quota") as server:
        assert run(collect_job(tmp_path, server.base_url, attempts=1)).answered == 20
        assert set(server.billed.values()) == {1}


def test_a_refused_system_role_stops_and_names_the_field_of_the_spec(tmp_path: Path) -> None:
    write_prompts(tmp_path, 40, systems=("", "Think first."))
    with (
        FaultServer(lambda question, before: "no system role") as server,
        pytest.raises(EndpointError, match="model m: unsupported_role `system`: HTTP 400: System role not") as caught,
    ):
        run(collect_job(tmp_path, server.base_url))
    assert "`system_role`" in caught.value.fix and server.asked.total() <= 2 * IN_FLIGHT
    assert f"{server.billed.total()} of 40 answers are kept" in caught.value.fix, "those in flight are counted"


@pytest.mark.parametrize(
    ("role", "sent"),
    [
        ("developer", [("developer", "Think first."), ("user", "q0")]),
        ("user", [("user", "Think first."), ("user", "q0")]),
        ("none", [("user", "Think first.\n\nq0")]),
    ],
)
def test_a_model_without_a_system_role_gets_the_message_in_another_way(
    tmp_path: Path, role: str, sent: list[tuple[str, str]]
) -> None:
    write_prompts(tmp_path, 1, systems=("Think first.",))
    with FaultServer(lambda question, before: "no system role") as server:
        job = collect_job(tmp_path, server.base_url)
        changed = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"system_role": role}))
        assert run(changed).answered == 1
        assert [(one["role"], one["content"]) for one in server.last_body["messages"]] == sent
        run(changed)
        assert server.asked.total() == 1, "the ledger finds the answer under the messages that were sent"
    [row] = read_responses(tmp_path)
    assert (row.system, row.query) == ("Think first.", "q0"), (
        "a student learns from the conversation as the spec has it"
    )


def test_nested_parameters_are_sent_unchanged_and_kept_on_record(tmp_path: Path) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["Q:"], "reasoning": {"effort": "high"}}
    write_prompts(tmp_path, 1)
    with FaultServer() as server:
        job = collect_job(tmp_path, server.base_url)
        job = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"sampling": Sampling(extra=extra)}))
        assert run(job).answered == run(job).answered == 1
        assert {name: server.last_body[name] for name in extra} == extra and server.asked.total() == 1
    [record] = read_records(tmp_path / "answers")
    assert record["request"]["sampling"]["extra"] == extra


def test_further_headers_are_sent_and_their_values_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "Basic tenant-secret-42"
    monkeypatch.setenv("TENANT", secret)
    for folder in (tmp_path, tmp_path / "again"):
        write_prompts(folder, 3)
    with FaultServer() as server:
        run(collect_job(tmp_path, server.base_url, headers={"X-Tenant": "TENANT"}))
        assert server.last_request and server.last_request.headers["X-Tenant"] == secret
    with (
        FaultServer(lambda question, before: "repeats the headers") as server,
        pytest.raises(EndpointError, match=r"auth: HTTP 401: .*x-tenant': '\*\*\*'") as caught,
    ):
        run(collect_job(tmp_path / "again", server.base_url, headers={"X-Tenant": "TENANT"}))
    assert secret not in f"{caught.value} {capsys.readouterr()}" and "tenant-secret" not in f"{caught.value}"
    monkeypatch.delenv("TENANT")
    with pytest.raises(EndpointError, match="variable TENANT, for the header X-Tenant, is not set"):
        run(collect_job(tmp_path / "again", server.base_url, headers={"X-Tenant": "TENANT"}))
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"tenant-secret" not in path.read_bytes(), path
