"""Tests of orcac/cli/collected.py: a spec that only collects answers ends with the places of its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.errors import OrcacError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.study import find_study

SPEC = """\
orcac: 1
name: survey
queries: {counting: {format: puzzles, task: object_counting, size: [2, 4], take: 12}}
system_messages: {messages: {2: "Explain step by step."}, draw: {counting: [2]}}
teachers: {solver: {model: expert, endpoint: {kind: solver}}}
datasets: {explained: {teacher: solver, queries: [counting]}}
ablations: {brief: {filters: {max_characters: 90, allow_empty: ["*"]}}}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    path = tmp_path / "survey.yaml"
    path.write_text(SPEC)
    return path


def orcac(*arguments: object) -> str:
    result = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def test_answers_that_are_not_collected_are_an_error_with_a_fix(spec: Path) -> None:
    with pytest.raises(OrcacError, match="not collected yet"):
        orcac("report", spec)


def test_every_command_takes_a_spec_that_only_collects_answers(spec: Path) -> None:
    for command in ("compile", "plan", "cost", "power", "pin", "compile"):
        orcac(command, spec)
    assert "filters.max_characters" in orcac("diff", spec, f"{spec}:brief")
    with pytest.raises(OrcacError, match="trains no student"):
        orcac("export", spec, spec.parent / "student")


def test_the_tables_of_each_arm_are_printed_with_their_rows(spec: Path) -> None:
    plan, store = Plan(), find_study().store
    lower(plan, load(spec))
    for ref in plan.nodes:
        make(plan, store, ref)
    (found,) = json.loads(orcac("report", spec, "--json")).values()
    assert [one["label"] for one in found] == ["explained (base)", "explained (brief)"]
    for one in found:
        assert (one["prompts"], one["rows"]) == (12, pq.read_metadata(one["responses"]).num_rows)
        assert one["examples_rows"] == pq.read_metadata(one["examples"]).num_rows
    assert found[0]["examples_rows"] > found[1]["examples_rows"] > 0
    output = orcac("run", spec)
    assert "nothing to do" in output and all(one["examples"] in output for one in found)
    orcac("export", "--dataset", "explained", f"{spec}:brief", spec.parent / "out")
    assert pq.read_metadata(spec.parent / "out" / "data" / "train.parquet").num_rows == found[1]["examples_rows"]


def test_a_spec_that_only_collects_may_draw_its_data_several_times(spec: Path) -> None:
    first = Plan()
    lower(first, load(spec))
    spec.write_text(SPEC.replace("ablations", "replicates: {data: 2}\nablations"))
    plan, store = Plan(), find_study().store
    lower(plan, load(spec))
    assert plan.nodes.keys() >= first.nodes.keys()  # a later draw moves no id
    for ref in plan.nodes:
        make(plan, store, ref)
    (found,) = json.loads(orcac("report", spec, "--json")).values()
    assert [one["label"] for one in found[:2]] == ["explained (base)", "explained ~1 (base)"]
    first_draw, second_draw = (pq.read_table(one["responses"])["query"].to_pylist() for one in found[:2])
    assert not set(first_draw) & set(second_draw)
    orcac("export", "--dataset", "explained", "--run", "2", spec, spec.parent / "out")
    exported = pq.read_table(spec.parent / "out" / "data" / "train.parquet")
    assert exported.num_rows == found[1]["examples_rows"] == 12
    with pytest.raises(OrcacError, match="no run 3"):
        orcac("export", "--dataset", "explained", "--run", "3", spec, spec.parent / "third")
