"""A test of a cut of specs/orca-13b.yaml: all its stages and benchmarks, judged ones among them, on a few rows each."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac import puzzles
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.results import read_json
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = Path(__file__).parents[1] / "specs" / "orca-13b.yaml"
KEPT = ("no-assistant", "asked-to-follow")  # of the arms
SOLVER = {"kind": "solver", "requests_per_minute": None, "tokens_per_minute": None}
SHAPE = {"hidden": 32, "layers": 1, "heads": 2, "intermediate": 48}
SOURCES = {  # task of the puzzles, and the number of rows to draw
    "cot": ("navigate", None),
    "niv2": ("object_counting", 6),
    "flan2021": ("logical_deduction", 6),  # with options, which draw other system messages
    "t0": ("web_of_lies", 6),
}


def ask(task: str, number: int) -> puzzles.Puzzle:
    return puzzles.generate(task, size=3, rng=random.Random(f"{task} {number}"))


def write_sources(folder: Path) -> dict[str, Any]:
    """Write the query sources in the columns of the hub's files, and return the patch that names them."""
    patch: dict[str, Any] = {}
    for name, (task, take) in SOURCES.items():
        rows = [ask(task, number) for number in range(8)]
        columns = {
            "inputs": [row.query for row in rows],
            "targets": [row.reference for row in rows],
            "_task_name": [f"task {number % 2}" for number in range(8)],
        }
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        patch[name] = {"path": f"{name}.parquet"} | ({} if take is None else {"take": take})
    return patch


def write_benchmarks(folder: Path) -> None:
    """Write the files of the benchmarks in their published forms."""
    (folder / "agieval").mkdir()
    (folder / "bbh").mkdir()
    item = {"passage": "", "question": "Which is it?", "options": ["(A)this", "(B)that"], "label": "B"}
    (folder / "agieval" / "sat-en.jsonl").write_text(json.dumps(item) + "\n")
    (folder / "agieval" / "lsat-ar.jsonl").write_text(json.dumps(item | {"question": "Or this?"}) + "\n")
    examples = [{"input": one.query, "target": one.reference} for one in (ask("navigate", n) for n in (20, 21))]
    (folder / "bbh" / "navigate.json").write_text(json.dumps({"examples": examples}))
    vicuna = [("math", ask("object_counting", 20).query), ("coding", "Write a loop."), ("writing", "Write a line.")]
    for name, rows in {
        "vicuna": [{"category": category, "text": text} for category, text in vicuna],
        "awesome": [{"prompt": "I want you to act as a poet."}, {"prompt": "Act as a chef."}],
        "wizardlm": [
            {"Skill": "Math", "Instruction": "Add 1 and 1."},
            {"Skill": "Code", "Instruction": "Sort a list."},
        ],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def cut(folder: Path) -> Path:
    """Write the cut as a patch on the spec. It keeps the sections, and makes them small."""
    whole = load(SPEC)
    stage = {"epochs": 1, "batch": "1 row"}
    patch = {
        "orcac": 1,
        "name": "cut",
        "extends": str(SPEC),
        "queries": write_sources(folder),
        "teachers": {
            "chatgpt": {"model": "assistant", "endpoint": SOLVER},
            "gpt4": {"model": "expert", "endpoint": SOLVER},
            "critic": {"model": "judge", "endpoint": {"kind": "solver"}, "price": {"input": 30, "output": 60}},
        },
        "datasets": {"flan-1m": {"sample": {"take": 8}}},
        "student": {
            "base": None,
            "like": None,
            "shape": SHAPE,
            "tokenizer": {"vocabulary": 400, "train_on": ["flan-5m"]},
            "max_length": 512,
        },
        "stages": dict.fromkeys(whole.base.spec.stages, stage),
        "benchmarks": {
            name: {"max_tokens": 64} | ({"judge": "critic"} if hasattr(benchmark, "judge") else {})
            for name, benchmark in whole.base.spec.benchmarks.items()
        },
        "hardware": None,
        "ablations": {name: None for name in whole.arms if name not in ("base", *KEPT)},
    }
    (folder / "spec.yaml").write_text(json.dumps(patch))
    return folder / "spec.yaml"


def test_a_cut_of_the_whole_experiment_runs_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eval").mkdir()
    write_benchmarks(tmp_path / "eval")
    monkeypatch.setenv("EVAL", str(tmp_path / "eval"))
    plan, store = Plan(), Store(tmp_path / "store")
    lower(plan, load(cut(tmp_path)))
    assert not any(node.blockers for node in plan.nodes.values())
    for ref in plan.nodes:
        make(plan, store, ref)
    results = read_json(store.folder(plan.experiments["cut"].report) / "results.json")
    scored = {bench.name: {score.arm: score for score in bench.scores} for bench in results.benchmarks}
    arms = ["base", *KEPT]
    for name in ("agieval", "bbh"):
        assert scored[name].keys() == {*arms, "chatgpt (baseline)", "gpt4 (baseline)"}
    assert scored["bbh"]["gpt4 (baseline)"].mean == 1.0
    for name, questions in {"vicuna": 3, "awesome": 2, "wizardlm": 2}.items():
        assert scored[name].keys() == set(arms)
        for score in scored[name].values():
            assert score.judging
            assert (score.n, score.judging.reviews, score.judging.unread) == (questions, questions * 2 * 2, 0)
            assert [one.model for one in score.judging.against] == ["assistant", "expert"]
    assert [stage.stage for stage in results.arms[0].stages] == ["assistant", "expert"]


def test_the_whole_experiment_waits_for_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVAL", raising=False)
    plan = Plan()
    lower(plan, load(SPEC))
    blockers = [reason for node in plan.nodes.values() for reason in node.blockers]
    assert blockers and all("the environment variable EVAL is not set" in reason for reason in blockers)
