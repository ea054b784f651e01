"""Tests of orcac/cli/outcome.py: each artifact and each command that the end of a run names exists."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.cli.outcome import describe_failures, describe_outcome
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.tokenize.recipe import TokenizeRecipe

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"
COLLECT_ONLY = """
orcac: 1
name: asked
queries: {sums: {format: puzzles, task: boolean_expressions, size: [2, 3], take: 9}}
teachers: {solver: {model: expert, endpoint: {kind: solver}}, labels: {model: l, endpoint: {kind: reference}}}
datasets: {some: {teacher: solver, queries: [sums]}, own: {teacher: labels, queries: [sums]}}
"""
EVALUATE_ONLY = """
orcac: 1
name: measured
student: {base: "hf://o/m@v1"}
benchmarks: {sums: {format: puzzles, task: boolean_expressions, size: [2, 3], take: 9}}
teachers: {solver: {model: expert, endpoint: {kind: solver}}}
baselines: [solver]
"""
LOSSES = '{"step": 0, "loss": 6.5}\n{"step": 700, "loss": 0.25}\n{"step": 1400, "loss": 0.75}\n'
SUMMARIES: dict[str, dict[str, Any]] = {
    "student": {"parameters": 9},
    "collect": {"prompts": 9, "answered": 8, "failed": {"timeout": 1}},
    "filter": {"read": 9, "kept": 5, "rejected": {"timeout": 1, "duplicate": 3}},
    "tokenize": {
        "examples": 5, "packed": 4, "too_long": 1, "rows": 2, "tokens": 9, "supervised_tokens": 5, "fill": 0.5,
    },
    "train": {"steps": 9, "tokens": 9, "supervised_tokens": 5, "first_loss": 6.5, "final_loss": 0.5},
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def compiled(path: Path) -> Plan:
    plan = Plan()
    lower(plan, load(path))
    return plan


def publish(plan: Plan, store: Store, *kinds: str) -> None:
    for ref, node in plan.nodes.items():
        if node.kind in kinds:
            (store.root / "out").mkdir(parents=True)
            summary = SUMMARIES.get(node.kind, {})
            if isinstance(node.recipe, TokenizeRecipe) and node.recipe.holdout:
                summary = summary | {"held_out": 2}
            if node.kind == "train":
                (store.root / "out" / "holdout.jsonl").write_text(LOSSES)
            with store.lease(ref):
                store.publish(ref, store.root / "out", {"summary": summary})
            (store.root / "out").rmdir()


def heads(lines: list[str]) -> list[str]:
    return [line[:9].strip() for line in lines]


def test_a_whole_run_names_answers_students_losses_and_the_report(store: Store) -> None:
    plan = compiled(SMOKE)
    assert describe_outcome(plan, store, "smoke") == []
    publish(plan, store, "sample", "collect", "filter", "student", "tokenize", "train", "eval", "score", "report")
    lines = describe_outcome(plan, store, "smoke")
    assert heads(lines) == [
        "answers", "", "look", "export", "student", "", "export", "dropped", "report", "open",
    ]  # fmt: skip
    addresses = plan.experiments["smoke"].addresses
    filtered, trained = addresses["base"]["filter/pool"], addresses["base"]["train/second"]
    assert lines[0].endswith(f"8 of 9 answered, 5 kept  {store.folder(filtered) / 'kept.parquet'}")
    assert lines[4].endswith(f"base      {store.folder(trained) / 'model'}")
    assert lines[7] == "dropped   8 of 18 answers: duplicate 6, timeout 2; 2 of 10 examples: longer than a row"
    assert lines[9].endswith(f"file://{store.folder(plan.experiments['smoke'].report)}/report.html")


def test_examples_with_a_mark_of_the_chat_template_are_named_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = compiled(SMOKE)
    monkeypatch.setitem(SUMMARIES, "tokenize", SUMMARIES["tokenize"] | {"packed": 2, "forged": 2})
    publish(plan, store, "tokenize")
    words = "2 of 10 examples: longer than a row; 4 of 10 examples: with a mark of the chat template"
    assert describe_outcome(plan, store, "smoke") == [f"dropped   {words}"]


def test_a_chat_template_that_is_not_the_models_own_has_a_line_with_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = compiled(SMOKE)
    monkeypatch.setitem(SUMMARIES, "student", {"parameters": 9, "replaced": "it leaves out the question"})
    publish(plan, store, "student")
    line = "template  one of orcac, and not the model's own: it leaves out the question"
    assert describe_outcome(plan, store, "smoke") == [line]


def test_a_stage_that_keeps_examples_apart_has_a_line_on_their_loss(store: Store) -> None:
    spec = store.root.parent / "apart.yaml"
    spec.write_text(SMOKE.read_text().replace("{dataset: few,", "{dataset: few, holdout: 10 %,"))
    plan = compiled(spec)
    publish(plan, store, "tokenize", "train")
    lines = [line for line in describe_outcome(plan, store, "smoke") if "kept apart" in line]
    words = "second: loss on 2 examples kept apart 6.500 before, 0.250 lowest (step 700 of 1,400), 0.750 after"
    assert lines == [f"learnt    {words}", f"          no-first, {words}"]


@pytest.mark.parametrize("kinds", [["sample", "collect"], ["sample", "collect", "filter"]])
def test_a_run_that_only_collects_names_the_last_files_there_are(store: Store, kinds: list[str]) -> None:
    spec = store.root.parent / "my asked.yaml"
    spec.write_text(COLLECT_ONLY)
    plan = compiled(spec)
    publish(plan, store, *kinds)
    lines = describe_outcome(plan, store, "asked")
    is_filtered = "filter" in kinds
    assert heads(lines) == ["answers", "", "look", *(["export"] if is_filtered else []), "dropped"]
    assert all(line.endswith("kept.parquet" if is_filtered else "responses.parquet") for line in lines[:2])
    assert ("8 of 18 answers" if is_filtered else "2 of 18 answers: timeout 2") in lines[-1]


def test_the_commands_that_it_names_are_valid(store: Store) -> None:
    spec = store.root.parent / "my asked.yaml"
    spec.write_text(COLLECT_ONLY)
    plan = compiled(spec)
    publish(plan, store, "sample", "collect", "filter")
    commands = [shlex.split(line[10:]) for line in describe_outcome(plan, store, "asked") if "orcac " in line]
    assert [line[1:3] for line in commands] == [["answers", "list"], ["export", "--dataset"]]
    for line in commands:
        result = CliRunner().invoke(cli, line[1:], standalone_mode=False)
        # the filter that this test publishes has no rows, and the command gets as far as to look for them
        assert result.exception is None or "kept.parquet" in str(result.exception), line


def test_a_run_that_only_measures_names_the_answers_of_each_model(store: Store) -> None:
    spec = store.root.parent / "measured.yaml"
    spec.write_text(EVALUATE_ONLY)
    plan = compiled(spec)
    publish(plan, store, "sample", "student", "eval", "collect", "score", "report")
    lines = describe_outcome(plan, store, "measured")
    assert heads(lines) == ["answers", "", "report", "open"]
    assert lines[0].startswith("answers   o/m on sums ") and lines[0].endswith("answers.parquet")
    assert "solver (baseline) on sums" in lines[1] and lines[1].endswith("responses.parquet")


def test_many_datasets_are_cut_short(store: Store) -> None:
    spec = store.root.parent / "many.yaml"
    names = ", ".join(f"d{number}: {{teacher: solver, queries: [q{number}]}}" for number in range(9))
    queries = ", ".join(
        f"q{number}: {{format: puzzles, task: boolean_expressions, size: [2, 3], take: {number + 1}}}"
        for number in range(9)
    )
    text = COLLECT_ONLY.replace("datasets: {some: {teacher: solver, queries: [sums]}, own", f"datasets: {{{names}, own")
    spec.write_text(text.replace("queries: {sums", f"queries: {{{queries}, sums"))
    plan = compiled(spec)
    publish(plan, store, "collect")
    lines = describe_outcome(plan, store, "asked")
    assert lines[6] == "          and 4 more"


def test_a_failed_node_is_named_with_the_end_of_its_log(store: Store) -> None:
    plan = compiled(SMOKE)
    ref = plan.experiments["smoke"].addresses["base"]["train/first"]
    store.folder(ref).mkdir(parents=True)
    log = store.folder(ref) / "log.txt"
    log.write_text(
        "\n".join(
            [
                *(f"line {number}" for number in range(99)),
                "\x1b[2Jlast",
                "orcac: the loss is NaN",
                "  fix: lower it",
                "",
            ]
        )
    )
    store.record_error(ref, "the loss is NaN\nfix: lower it", 4)
    lines, codes = describe_failures(plan, store, since=0)
    assert codes == [4]
    assert lines[1:4] == [f"failed: train base: first ({ref})", "  the loss is NaN", "  fix: lower it"]
    assert lines[4:] == [f"  log: {log}", *(f"    line {number}" for number in range(94, 99)), "     [2Jlast"]


def test_an_error_of_several_nodes_is_printed_once(store: Store) -> None:
    plan = compiled(SMOKE)
    addresses = plan.experiments["smoke"].addresses["base"]
    refs = [addresses["collect/pool"], addresses["collect/few"]]
    for ref, asked in zip(refs, (3, 4), strict=True):
        store.folder(ref).mkdir(parents=True)
        error = f"http://gone/v1/, model m: unreachable: no route\n  fix: start the server; 0 of {asked} are kept"
        (store.folder(ref) / "log.txt").write_text(
            f"collect x  0/{asked} answers\ncollect x  unreachable: no route\norcac: {error}\n"
        )
        store.record_error(ref, error, 4)
    lines, codes = describe_failures(plan, store, since=0)
    first, second = sorted(refs, key=list(plan.nodes).index)
    assert codes == [4, 4]
    assert [line.partition("(")[2] for line in lines[1:3]] == [f"{first})", f"{second})"]
    assert sum("no route" in line for line in lines) == 1 and sum("fix:" in line for line in lines) == 2
    assert lines[-2].startswith("  log: ") and lines[-1].endswith("answers")


def test_the_log_of_a_failed_shard_is_that_of_the_shard(store: Store) -> None:
    plan = compiled(SMOKE)
    ref = plan.experiments["smoke"].addresses["base"]["collect/pool"]
    shard = store.folder(ref) / "shards" / "2-of-2"
    shard.mkdir(parents=True)
    (shard / "error.json").write_text(json.dumps({"message": "no answer", "exit_code": 5}))
    (shard / "log.txt").write_bytes(b"\xff of the shard\n")
    lines, codes = describe_failures(plan, store, since=0)
    assert codes == [5]
    assert lines[-2:] == [f"  log: {shard / 'log.txt'}", "    \ufffd of the shard"]


def test_a_job_that_was_killed_is_named_by_its_log(store: Store) -> None:
    plan = compiled(SMOKE)
    ref = plan.experiments["smoke"].addresses["base"]["train/first"]
    store.folder(ref).mkdir(parents=True)
    (store.folder(ref) / "log.txt").write_text("3/27 steps\n")
    lines, codes = describe_failures(plan, store, since=time.time() - 60)
    assert codes == [] and lines[-1] == "    3/27 steps" and ref in lines[1]
    assert describe_failures(plan, store, since=time.time() + 60) == ([], [])
