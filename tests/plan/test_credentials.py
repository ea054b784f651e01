"""Tests of orcac/plan/credentials.py: a key that is missing where a run begins."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.plan.credentials import check_credentials
from orcac.plan.lower import lower
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.spec.load import Experiment, load
from orcac.spec.problems import SpecErrors
from orcac.store.store import Store

SPEC = """orcac: 1
name: mine
queries: {mine: {format: jsonl, path: questions.jsonl, fields: {query: question}}}
teachers:
  cheap: {model: small, endpoint: {kind: openai, api_key_env: MY_KEY}}
  local: {model: big, endpoint: {kind: openai, base_url: "http://localhost:8000/v1"}}
  unused: {model: other, endpoint: {kind: openai, api_key_env: OTHER_KEY}}
datasets: {first: {teacher: cheap, queries: [mine]}, second: {teacher: local, queries: [mine]}}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Node], list[Experiment], Store]:
    for name in ("MY_KEY", "OTHER_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mine.yaml").write_text(SPEC)
    (tmp_path / "questions.jsonl").write_text('{"question": "What is 6 times 7?"}\n')
    plan, experiment = Plan(), load(tmp_path / "mine.yaml")
    lower(plan, experiment)
    return list(plan.nodes.values()), [experiment], Store(tmp_path / "store")


def test_a_missing_key_of_a_teacher_that_will_be_asked_is_an_error_at_its_endpoint(
    study: tuple[list[Node], list[Experiment], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, experiments, store = study
    with pytest.raises(
        SpecErrors, match=r"mine\.yaml:5:25: teacher `cheap`: .* MY_KEY holds no API key; set MY_KEY"
    ) as one:
        check_credentials(nodes, experiments, store)
    assert len(one.value.problems) == 1
    check_credentials([node for node in nodes if node.label != "first"], experiments, store)
    monkeypatch.setenv("MY_KEY", "'sk-secret'")
    with pytest.raises(SpecErrors, match="without quotes") as one:
        check_credentials(nodes, experiments, store)
    assert "sk-secret" not in str(one.value)
    monkeypatch.setenv("MY_KEY", "sk-secret")
    assert check_credentials(nodes, experiments, store) == []


def test_it_is_a_warning_if_the_ledger_has_answers_of_the_model(
    study: tuple[list[Node], list[Experiment], Store],
) -> None:
    nodes, experiments, store = study
    request = ChatRequest(model="small", messages=conversation(system="", user="q"), sampling=Sampling(), origin="api")

    async def add() -> None:
        async with Ledger(store.answers) as ledger:
            await ledger.append(request, ChatResponse(text="42", finish_reason="stop"))

    asyncio.run(add())
    (warning,) = check_credentials(nodes, experiments, store)
    assert "warning: teacher `cheap`" in str(warning)
