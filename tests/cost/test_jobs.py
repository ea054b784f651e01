"""Tests of orcac/cost/jobs.py: the time and memory of jobs for which the spec states none, and its warnings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.cost.jobs import KEY, LEAST_MINUTES, MEMORY_MARGIN, TIME_MARGIN, estimate_jobs
from orcac.cost.memory import RUNTIME_CPU, RUNTIME_HOST
from orcac.cost.shape import count_parameters
from orcac.cost.steps import flow_quickly
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.train.gpus import GIB

SPEC = """\
orcac: 1
name: sized
queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 200_000}}
teachers: {t: {model: expert, endpoint: {kind: solver}}}
datasets: {d: {teacher: t, queries: [q]}}
student: {size: 7B, tokenizer: {vocabulary: 32_000, train_on: [d]}}
stages: {s: {dataset: d, batch: 16 rows, epochs: 480}}
curriculum: [s]
benchmarks: {b: {format: puzzles, task: navigate, size: [3, 5], take: 20}}
hardware:
  train: {gpus: 8, gpu: a100-80gb, precision: bf16, zero: 3}
"""


def compile_spec(folder: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Return the executions of the compiled plan by address, and the warnings."""
    (folder / "spec.yaml").write_text(spec)
    monkeypatch.setenv("ORCAC_PLAN", str(folder / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(folder / "store"))
    done = CliRunner().invoke(cli, ["compile", str(folder / "spec.yaml")])
    assert done.exit_code == 0, done.output
    plan = json.loads((folder / "plan.json").read_text())
    addresses = plan["experiments"]["sized"]["addresses"]["base"]
    return {address: plan["nodes"][ref]["execution"] for address, ref in addresses.items()}, done.stderr


def needs(folder: Path) -> tuple[Plan, dict[str, Any]]:
    plan = Plan()
    lower(plan, load(folder / "spec.yaml"))
    return plan, estimate_jobs(flow_quickly(plan, Store(folder / "store")))


def test_what_the_spec_does_not_state_is_estimated_with_a_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions, warnings = compile_spec(tmp_path, SPEC, monkeypatch)
    assert "warning" not in warnings
    plan, found = needs(tmp_path)
    addresses = plan.experiments["sized"].addresses["base"]
    trained, estimate = found[addresses["train/s"]], executions["train/s"]["estimate"]
    assert estimate["minutes"] == math.ceil(TIME_MARGIN * trained.seconds.high / 60) > 24 * 60
    weights = 4 * count_parameters(plan.nodes[addresses["student"]].recipe.scratch)
    assert trained.memory == 8 * (weights + RUNTIME_HOST) > 200 * GIB  # each process loads float32 weights
    assert estimate["memory_mb"] == pytest.approx(MEMORY_MARGIN * trained.memory / 2**20, abs=100)
    assert found[addresses["student"]].memory == weights + RUNTIME_CPU
    assert found[addresses["eval/b"]].memory == weights + RUNTIME_CPU
    assert found[addresses["queries/d/q"]].memory == KEY * 200_000
    assert executions["queries/d/q"]["estimate"] == {"minutes": LEAST_MINUTES, "memory_mb": 2000, "is_brief": True}
    assert executions["collect/d"]["minutes"] is None and not executions["collect/d"]["estimate"]["is_brief"]


def test_estimates_change_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_spec(tmp_path, SPEC, monkeypatch)
    plan, _ = needs(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text())["nodes"].keys() == plan.nodes.keys()


def test_a_spec_that_states_less_than_is_estimated_is_warned_about_at_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.replace("zero: 3", "zero: 3, time: 2 hours, memory: 64 GiB") + "  eval: {time: 1 minute}\n"
    executions, warnings = compile_spec(tmp_path, spec, monkeypatch)
    text = warnings.replace(f"{tmp_path}/", "")
    line = spec.splitlines()[10]
    assert (
        f"spec.yaml:11:{line.index('2 hours') + 1}: warning: train base: s takes about 5.9 days, and its time" in text
    )
    assert "limit is 2.0 h; write `time: 12 days`, or no `time`: then it is estimated" in text
    assert f"spec.yaml:11:{line.index('64 GiB') + 1}: warning: train base: s takes about 225 GiB of a machine" in text
    assert "and `memory` asks for 64 GiB; write `memory: 225 GiB`, or no `memory`" in text
    assert "spec.yaml:12:16: warning: eval base: b takes about " in text
    train = executions["train/s"]
    assert (train["minutes"], train["memory_mb"]) == (120, 64 * 1024)  # the spec is obeyed
    enough = spec.replace("2 hours", "900 days").replace("64 GiB", "900 GiB").replace("1 minute", "90 days")
    assert "warning" not in compile_spec(tmp_path, enough, monkeypatch)[1]


def test_too_little_memory_for_training_on_a_cpu_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "  train: {processes: 2, memory: 4 GiB, time: 900 days}\n"
    spec = SPEC.partition("  train:")[0].replace("size: 7B", "size: 160M") + train
    _, warnings = compile_spec(tmp_path, spec, monkeypatch)
    assert "GiB of a machine, and `memory` asks for 4.0 GiB; write `memory: " in warnings
    _, warnings = compile_spec(tmp_path, spec.replace("memory: 4 GiB, ", ""), monkeypatch)
    assert "of a machine" not in warnings
