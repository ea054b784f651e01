"""Tests of one protocol for all rows: the same weights give the same answers as a student and as a baseline.

Real nodes of a compiled spec: orcac/sample/form.py, orcac/eval/run.py, orcac/chat/endpoints/local.py and
orcac/score/run.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner

from orcac import rows
from orcac.cli import cli
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import BASELINES, Plan
from orcac.report.results import Protocol, read_json
from orcac.report.table import format_table
from orcac.spec.load import load
from orcac.store.store import Store

SHAPE = tiny.SHAPE.model_copy(update={"positions": 400, "layers": 2})
# as many chat models have it: a system message of its own, and no marks of the learnt part
TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|system|>You are a small model.\n{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ITEMS = [
    {"question": f"What is {n} and {n % 7}?" if n % 50 else f"What is {n}? " * 60, "answer": str(n + n % 7)}
    | {"task": "sums" if n % 3 else "more sums", "options": [str(n + n % 7), "no number"]}
    for n in range(210)
]
SHARED: dict[str, Any] = {"format": "jsonl", "path": "items.jsonl", "max_tokens": 12, "checker": "number"}
SHARED |= {"fields": {"query": "question", "reference": "answer", "task": "task"}, "take": 204}
BENCHMARKS: dict[str, Any] = {
    "greedy": {},
    "sampled": {"temperature": 0.7, "top_p": 0.9},
    "shots": {"shots": 2, "system": 7, "instruction": "End with ANSWER: X", "cue": "So"},
    "system": {"system": 7, "temperature": 0.7},
    "samples": {"samples": 2, "temperature": 0.7, "stop": ["e"]},
}

LIKELY = {"format": "jsonl", "path": "items.jsonl", "take": 20, "method": "likelihood"}
LIKELY |= {"fields": {"query": "question", "reference": "answer", "options": "options"}}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a spec that measures one folder of weights as a student and as a baseline."""
    root = tmp_path_factory.mktemp("protocol")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(50)])
    model = tiny.make_student(root / "scratch", examples, shape=SHAPE) / "model"
    (model / "chat_template.jinja").write_text(TEMPLATE)
    (root / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (root / "spec.yaml").write_text(
        json.dumps(
            {
                "orcac": 1,
                "name": "same",
                "seed": 11,
                "system_messages": {"messages": {"7": "Think first."}},
                "student": {"base": str(model)},
                "teachers": {"it": {"model": "it", "endpoint": {"kind": "local", "path": str(model), "batch": 16}}},
                "baselines": ["it"],
                "benchmarks": {name: SHARED | more for name, more in BENCHMARKS.items()} | {"likely": LIKELY},
                "hardware": {"eval": {"batch": 7}},
            }
        )
    )
    return root / "spec.yaml"


def test_the_same_weights_give_the_same_answers_as_a_student_and_as_a_baseline(spec: Path) -> None:
    plan, store = Plan(), Store(spec.parent / "store")
    lower(plan, load(spec))
    for ref in plan.nodes:
        make(plan, store, ref)
    addresses = plan.experiments["same"].addresses
    for name in BENCHMARKS:
        samples = range(BENCHMARKS[name].get("samples", 1))
        replies = [f"replies/it/{name}" + (f"/{sample}" if sample else "") for sample in samples]
        ours = read_answers(store, [addresses["base"][f"eval/{name}"]], rows.Answer)
        theirs = read_answers(store, [addresses[BASELINES][reply] for reply in replies], rows.Response)
        assert ours == theirs
        assert len(ours) == (204 - 4 * (name == "shots")) * len(samples)
        texts = {text for text, *_ in ours.values()}
        assert len(texts) > 20 and "" in texts
        marks = [
            {(row.id, row.sample): (row.response, row.outcome, row.score) for row in rows.read(path, rows.Scored)}
            for path in (
                store.folder(addresses["base"][f"score/{name}"]) / "scores.parquet",
                store.folder(addresses[BASELINES][f"baseline/it/{name}"]) / "scores.parquet",
            )
        ]
        assert marks[0] == marks[1]
    results = read_json(store.folder(plan.experiments["same"].report) / "results.json")
    *generated, likely = results.benchmarks
    for bench in generated:
        ours, theirs = bench.scores
        assert ours.protocol == theirs.protocol and ours.mean == theirs.mean
    assert results.benchmarks[2].scores[0].protocol == Protocol(
        system="Think first.", shots=2, instruction="End with ANSWER: X", cue="So", max_tokens=12
    )
    table = format_table(results)
    assert "Asked: zero-shot, no system message, temperature 0.7, top_p 0.9, at most 12 tokens." in table
    assert "Asked otherwise" not in table
    assert [score.arm for score in likely.scores] == ["model"] and likely.without_row == ("it (baseline)",)
    sentence = "No row for it (baseline): it compares the log-likelihoods of options, which baselines do not give."
    assert sentence in table


def read_answers(store: Store, refs: list[str], kind: type[Any]) -> dict[tuple[str, int], tuple[str, str, int]]:
    """Return (item, sample) -> (text, system message, tokens) of the answers of an eval or of some collect nodes."""
    answers = {}
    for number, ref in enumerate(refs):
        (path,) = store.folder(ref).glob("*.parquet")
        for row in rows.read(path, kind):
            sample = row.sample + number  # of an eval, or of the collect node of one sample
            answers[row.id, sample] = row.response, row.system, row.output_tokens
    return answers


def test_compile_names_the_baselines_without_a_row(spec: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(cli, ["compile", str(spec)])
    line = "no row for it on `likely`: it compares the log-likelihoods of options, which baselines do not give"
    assert result.exit_code == 0 and line in result.output
