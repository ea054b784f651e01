"""Tests of orcac/chat/ask.py, orcac/chat/survey.py and orcac/chat/display.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer

from orcac.chat.ask import Asker, ChatExecution
from orcac.chat.ledger.files import read_records
from orcac.chat.messages import ChatRequest
from orcac.chat.questions import Questions
from orcac.chat.settings import EndpointSettings, Price, Sampling
from orcac.errors import EndpointError
from orcac.progress import Progress

TEXTS = [("", "q0"), ("Be brief.", "q1"), ("", "q1"), ("", "q0")]  # the last repeats the first


def questions(texts: list[tuple[str, str]] = TEXTS) -> Questions:
    return Questions(ChatRequest(model="m", messages=(), sampling=Sampling(), origin="api"), lambda: texts)


def execution(folder: Path, server: FaultServer, **settings: Any) -> ChatExecution:
    endpoint = EndpointSettings(kind="openai", base_url=server.base_url).model_copy(update=settings)
    return ChatExecution(
        endpoint=endpoint,
        model="m",
        label="job",
        answers=folder / "answers",
        work=folder / "work",
        progress=lambda total, unit: Progress(label="job", total=total, unit=unit),
    )


def test_answers_come_in_order_and_a_second_job_pays_for_none_of_them(tmp_path: Path) -> None:
    with FaultServer() as server:
        with Asker(questions(), execution(tmp_path, server)) as asker:
            tally = asker.ask()
            texts = [response.text for response in asker.responses()]
        assert (tally.total, tally.answered) == (3, 3)
        assert texts == [f"answer to q{n}" for n in (0, 1, 1, 0)]
        billed = server.billed.total()
        assert billed == len(list(read_records(tmp_path / "answers"))) == 3
        with Asker(questions([*TEXTS, ("", "q2")]), execution(tmp_path, server)) as asker:
            tally = asker.ask()
            assert [response.text for response in asker.responses()][:4] == texts
        assert tally.answered == 4 and server.billed.total() == billed + 1


def test_an_answer_without_usage_counts_with_the_bound_of_its_request(tmp_path: Path) -> None:
    price = Price(input=1.0, output=2.0)
    with FaultServer(lambda question, before: "uncounted") as server:
        how = execution(tmp_path, server, price=price)
        for _ in range(2):  # asked, then found in the ledger
            with Asker(questions(), how) as asker:
                tally = asker.ask()
            bound = sum(request.usd_bound(price) for request in questions(TEXTS[:3]).requests())
            assert tally.usd == pytest.approx(bound)


def test_the_jobs_of_one_spec_spend_from_one_budget_and_are_seen_on_one_account(tmp_path: Path) -> None:
    with FaultServer() as server:
        how = execution(tmp_path, server, price=Price(input=1.0, output=2.0), budget_usd=1e-6, budget_name="spec")
        with Asker(questions(), how) as asker, pytest.raises(EndpointError, match="holds no further request"):
            asker.ask()
        assert not server.billed
    assert [path.name for path in (tmp_path / "answers" / "budgets").iterdir()] == ["spec"]
    assert len(list((tmp_path / "answers" / "accounts").iterdir())) == 1


def test_the_progress_line_names_each_kind_of_error_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer(lambda question, before: "500" if before < 2 and question == "q0" else "") as server:
        with Asker(questions(), execution(tmp_path, server)) as asker:
            tally = asker.ask()
        assert tally.retried["server"] == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("job  server: HTTP 500") for line in lines) == 1
    assert lines[-1].startswith("job  3/3 answers  100 %") and "retried: 2 server" in lines[-1]
