"""Tests of orcac/collect/recorded.py and orcac/chat/endpoints/replay.py: a recording with two answers to each question,
from a spec to the kept examples of two draws of a dataset, and to the scores of a baseline."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from orcac import rows
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.rows import Response
from orcac.spec.load import load
from orcac.store.store import Store

FIELDS = {"question": "q", "answer": "out", "reasoning": "why", "finish_reason": "end"}
SPEC = {
    "orcac": 1,
    "name": "taped",
    "queries": {"q": {"format": "jsonl", "path": "questions.jsonl", "fields": {"query": "q", "reference": "a"}}},
    "teachers": {
        "tape": {
            "model": "recorded",
            "endpoint": {"kind": "replay", "path": "tape.jsonl", "fields": FIELDS, "samples": 2},
        }
    },
    "datasets": {"d": {"teacher": "tape", "queries": ["q"]}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 300, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d", "batch": "2 rows"}},
    "curriculum": ["s"],
    "replicates": {"data": 2},
    "benchmarks": {
        "b": {
            "format": "jsonl",
            "path": "questions.jsonl",
            "fields": {"query": "q", "reference": "a"},
            "samples": 2,
            "temperature": 0.7,
        }
    },
    "baselines": ["tape"],
}
QUESTIONS = {"Name the even prime.": "2", "Double 4.": "8", "Halve 10.": "5"}
SECOND = [("It is 2.", "stop"), ("It is 9.", "stop"), ("It is 5.", "length")]


def write_lines(path: Path, rows: list[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_each_draw_and_each_sample_has_its_own_row_of_a_recording(tmp_path: Path) -> None:
    write_lines(tmp_path / "questions.jsonl", [{"q": query, "a": answer} for query, answer in QUESTIONS.items()])
    first = [
        {"q": query, "out": f"So {answer}.", "why": "as asked", "end": "STOP"} for query, answer in QUESTIONS.items()
    ]
    second = [{"q": query, "out": text, "end": end} for query, (text, end) in zip(QUESTIONS, SECOND, strict=True)]
    write_lines(tmp_path / "tape.jsonl", [*first, "torn", *second])
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    plan, store = Plan(), Store(tmp_path / "store")
    lower(plan, load(tmp_path / "spec.yaml"))
    plan.write(tmp_path / "plan.json")
    plan = Plan.read(tmp_path / "plan.json")
    addresses = plan.experiments["taped"].addresses
    score = addresses["(baselines)"]["baseline/tape/b"]
    answers = plan.nodes[score].inputs["answers"]
    base = addresses["base"]
    draws = [(base["collect/d"], base["filter/d"]), (base["collect/d~1"], base["filter/d~1"])]
    nodes = [base["queries/d/q"], base["items/b"], *(ref for draw in draws for ref in draw), *answers, score]
    for ref in dict.fromkeys(nodes):
        assert make(plan, store, ref)

    def read(ref: str, name: str) -> list[tuple[str, str, str]]:
        found = rows.read(store.folder(ref) / name, Response)
        return [(row.response, row.reasoning, row.finish_reason) for row in found]

    of_first = [(f"So {answer}.", "as asked", "stop") for answer in QUESTIONS.values()]
    of_second = [(text, "", end) for text, end in SECOND]
    assert [read(ref, "responses.parquet") for ref, _ in draws] == [of_first, of_second]
    assert [read(ref, "kept.parquet") for _, ref in draws] == [of_first, of_second[:2]], "a cut answer is left out"
    assert [read(ref, "responses.parquet") for ref in answers] == [of_first, of_second]
    assert {store.artifact(ref)["summary"]["bad"] for ref in answers} == {1}
    summary = store.artifact(score)["summary"]
    assert (summary["n"], summary["outcomes"]["right"], summary["outcomes"]["wrong"]) == (3, 4, 1)
    assert summary["outcomes"]["cut"] == 1 and abs(summary["mean"] - 4 / 6) < 1e-9
