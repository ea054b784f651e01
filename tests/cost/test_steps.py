"""Tests of orcac/cost/steps.py: a spec's short stages are warned of at their places, once for all arms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.cost.steps import StageSteps, find_long_warmups
from orcac.plan.recipes import lower_schedule
from orcac.spec.load import load
from orcac.tokenize.steps import Packed

SPEC = """\
orcac: 1
name: short
queries: {mine: {format: jsonl, path: mine.jsonl, fields: {query: q}}}
teachers: {gpt: {model: gpt, endpoint: {kind: openai}}}
datasets: {answers: {teacher: gpt, queries: [mine]}}
student: {base: "hf://some/model", max_length: 1024}
stages:
  only: {dataset: answers, epochs: 2, batch: 32 rows}
ablations: {slow: {stages: {only: {learning_rate: 1e-6}}}, long: {stages: {only: {batch: 1 row, epochs: 9}}}}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    (tmp_path / "mine.jsonl").write_text("".join(f'{{"q": "Why is {n} * 7 = {n * 7}?"}}\n' for n in range(100)))
    path = tmp_path / "short.yaml"
    path.write_text(SPEC)
    return path


@pytest.mark.parametrize("command", ["compile", "plan", "cost"])
def test_a_short_stage_is_warned_of_once_at_its_place(command: str, spec: Path) -> None:
    result = CliRunner().invoke(cli, [command, str(spec)], standalone_mode=False)
    (warning,) = [line for line in result.stderr.splitlines() if "warning" in line and "stage" in line]
    assert warning.startswith(f"{spec}:8:3: warning: stage `only` learns little: a batch has more rows than there are")
    assert "`batch: 1 row" in warning
    lines = [line for line in result.stdout.splitlines() if line.startswith("stage only of")]
    assert [line.partition(":")[0] for line in lines] == (
        [] if command == "compile" else ["stage only of base and 1 more", "stage only of long"]
    )


def test_a_source_of_unknown_size_gives_no_steps(spec: Path) -> None:
    spec.write_text(SPEC.replace("fields:", "missing: later, fields:"))
    (spec.parent / "mine.jsonl").unlink()
    result = CliRunner().invoke(cli, ["plan", str(spec)], standalone_mode=False)
    assert result.exception is None
    assert "stage only of" not in result.stdout and "learns little" not in result.stderr


def test_a_plan_gives_the_expected_examples_of_each_part_of_a_mixture(spec: Path) -> None:
    few = "few: {teacher: gpt, sample: {from: answers, take: 20}}"
    text = SPEC.replace("queries: [mine]}}", f"queries: [mine]}}, {few}}}")
    spec.write_text(text.replace("dataset: answers", "data: {answers: 75 %, few: 25 %}"))
    result = CliRunner().invoke(cli, ["plan", str(spec)], standalone_mode=False)
    shown = " ".join(result.stdout.split()).partition("examples of ")[2]
    counts = re.findall(r"(answers|few) ([0-9]+) \(([0-9]+) to ([0-9]+)\)", shown)
    sizes = {name: [int(number) for number in numbers] for name, *numbers in counts}
    for answers, fewer in zip(sizes["answers"], sizes["few"], strict=True):
        assert answers == pytest.approx(3 * fewer, abs=3)
    assert sizes["few"][1] < sizes["few"][0] <= 20  # not all that are asked are kept


@pytest.mark.parametrize(
    "counted, refused", [({"is_exact": True}, True), ({"is_exact": False}, False), ({"rows": 64}, False)]
)
def test_a_warmup_that_takes_all_steps_of_counted_rows_is_refused_at_its_stage(
    spec: Path, counted: dict[str, object], refused: bool
) -> None:
    spec.write_text(SPEC.replace("epochs: 2, batch", "epochs: 2, warmup: 60 %, batch"))
    experiment = load(spec)
    packed = Packed(**({"rows": 20, "fill": 0.9, "length": 1024, "is_exact": True} | counted))
    stage = StageSteps("train/x", "base", lower_schedule("only", experiment.base.spec), packed, "", is_done=False)
    problems = find_long_warmups([stage], experiment)
    assert [str(problem.mark) for problem in problems] == [f"{spec}:8:3"] * refused
    assert find_long_warmups([stage._replace(is_done=True)], experiment) == []
