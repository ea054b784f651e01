"""Tests of orcac/cost/reasked.py: answers of baselines at another sampling are named, counted and priced, and kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orcac import rows
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.cli import cli
from orcac.cost.bill import price
from orcac.cost.reasked import describe_reasked
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.reasked import EarlierReplies, list_earlier_replies
from orcac.spec.load import Experiment, load
from orcac.store.store import Store

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "paid",
    "seed": 3,
    "system_messages": {"messages": {"7": "Explain each step."}},
    "teachers": {
        "t": {
            "model": "expert",
            "endpoint": {"kind": "solver"},
            "price": {"input": 1000, "output": 2000},
            "sampling": {"temperature": 0.7, "top_p": 0.95},
        }
    },
    "benchmarks": {
        "b": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 12, "system": 7, "max_tokens": 300}
    },
    "baselines": ["t"],
}
Study = tuple[Path, Plan, Experiment, Store, EarlierReplies]


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Return a study whose baseline an earlier orcac has asked, with the teacher's own sampling."""
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    (tmp_path / "spec.yaml").write_text(json.dumps(SPEC))
    plan, store, loaded = Plan(), Store(tmp_path / "store"), load(tmp_path / "spec.yaml")
    lower(plan, loaded)
    (one,) = list_earlier_replies(plan, [loaded])
    before = Plan()
    before.add(plan.nodes[one.items])
    for node in one.nodes[:2]:  # the prompts and the answers
        before.add(node)
    for ref in before.nodes:
        make(before, store, ref)
    return tmp_path / "spec.yaml", plan, loaded, store, one


def invoke(*line: object) -> str:
    result = CliRunner().invoke(cli, [str(part) for part in line])
    assert result.exit_code == 0, result.output
    return result.output


def test_answers_at_another_sampling_are_named_with_their_price_until_new_ones_are_made(paid: Study) -> None:
    _, plan, loaded, store, one = paid
    (line,) = describe_reasked(plan, [loaded], store)
    begin = "t on b: 12 answers are on record at temperature 0.7 and top_p 0.95; the benchmark asks at 0 and 1, "
    assert line.startswith(f"{begin}so they are asked again: ") and line.endswith(" USD")
    for ref in plan.nodes:
        if ref.startswith(("sample/", "collect/")):
            make(plan, store, ref)
    assert describe_reasked(plan, [loaded], store) == []
    assert store.is_done(one.ref)


def test_a_study_that_paid_nothing_before_is_not_warned(paid: Study, tmp_path: Path) -> None:
    _, plan, loaded, _, _ = paid
    assert describe_reasked(plan, [loaded], Store(tmp_path / "other")) == []


def test_the_remedy_uses_the_answers_of_a_served_model(tmp_path: Path) -> None:
    def study(**benchmark: float) -> tuple[Plan, Experiment]:
        served = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
        teacher = SPEC["teachers"]["t"] | {"endpoint": served}
        benchmarks = {"b": SPEC["benchmarks"]["b"] | benchmark}
        (tmp_path / "spec.yaml").write_text(json.dumps(SPEC | {"teachers": {"t": teacher}, "benchmarks": benchmarks}))
        plan, loaded = Plan(), load(tmp_path / "spec.yaml")
        lower(plan, loaded)
        return plan, loaded

    async def record(questions: Questions) -> None:
        async with Ledger(store.answers) as ledger:
            for request in questions.requests():
                await ledger.append(
                    request, ChatResponse(text="(A)", finish_reason="stop", input_tokens=60, output_tokens=9)
                )

    plan, loaded = study()
    store = Store(tmp_path / "store")
    (one,) = list_earlier_replies(plan, [loaded])
    make(plan, store, one.items)
    items = list(rows.read(store.folder(one.items) / "prompts.parquet", rows.Prompt))
    asyncio.run(record(Questions(one.recipe.template, lambda: ((one.system, item.query) for item in items))))
    line, remedy = describe_reasked(plan, [loaded], store)
    assert "t on b: 12 answers are on record" in line
    assert remedy == "  to use these answers, give the benchmark their settings: all its rows are then asked so"
    plan, loaded = study(temperature=0.7, top_p=0.95)
    for ref in plan.nodes:
        if ref.startswith("sample/"):
            make(plan, store, ref)
    assert describe_reasked(plan, [loaded], store) == []
    assert [cost.requests.mid for ref, cost in price(plan, store).items() if ref.startswith("collect/")] == [0.0]


@pytest.mark.parametrize("command", ["cost", "plan", "compile"])
def test_every_command_before_a_run_says_so(
    paid: Study, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    shown = " ".join(invoke(command, paid[0]).split())
    assert "t on b: 12 answers are on record at temperature 0.7 and top_p 0.95; the benchmark asks at 0 and 1" in shown


def test_gc_keeps_the_answers_until_new_ones_have_replaced_them(paid: Study) -> None:
    spec, plan, _, store, one = paid
    assert "nothing to remove" in invoke("gc", spec)
    for ref in plan.nodes:
        make(plan, store, ref)
    invoke("gc", spec, "--delete")
    assert not any(store.is_done(node.ref) for node in one.nodes)
    assert list(store.answers.glob("*"))  # the answers themselves stay
