"""Tests of orcac/spec/arms.py: names of arms, and the warnings about arms that make the same nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lay_out
from click.testing import CliRunner

from orcac.cli import cli
from orcac.spec.arms import expand_arms
from orcac.spec.problems import Problem
from orcac.spec.source import File, parse


def names(text: str, folder: Path) -> list[str]:
    """Return the names of the arms of a spec without problems."""
    (folder / "spec.yaml").write_text(text)
    problems: list[Problem] = []
    arms = expand_arms(parse(File(folder / "spec.yaml"), problems), problems)
    assert not problems
    return list(arms)


def test_an_arm_of_a_sweep_is_named_after_the_key_and_the_value(tmp_path: Path) -> None:
    text = "a: {x: 1, y: {x.z: 1}}\nsweep: {a.x: [1, 2.5], a.y.x.z: [a b, [1], null]}\n"
    values = ["x.z-a-b", "x.z-2", "x.z-null"]
    assert names(text, tmp_path) == ["base", *(f"base.{key}.{value}" for key in ("x-1", "x-2.5") for value in values)]


def test_swept_paths_that_end_alike_are_named_in_full(tmp_path: Path) -> None:
    text = "a: {seed: 1}\nb: {seed: 1}\nsweep: {a.seed: [2], b.seed: [3]}\n"
    assert names(text, tmp_path) == ["base", "base.a.seed-2.b.seed-3"]


def test_a_point_with_the_values_of_the_arm_is_not_repeated(tmp_path: Path) -> None:
    text = "seed: 1\nablations: {other: {seed: 2}}\nsweep: {seed: [1, 2]}\n"
    assert names(text, tmp_path) == ["base", "other", "base.seed-2", "other.seed-1"]


def test_a_star_sweeps_a_field_of_all_maps_that_the_arm_has_there(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "stages: {a: {rate: 1}, b: {rate: 2}}\n"
        "ablations: {one: {stages: {b: null}}, more: {stages: {c: {rate: 3}}}}\n"
        "sweep: {stages.*.rate: [1, 4]}\n"
    )
    problems: list[Problem] = []
    arms = expand_arms(parse(File(tmp_path / "spec.yaml"), problems), problems)
    assert not problems
    rates = {
        name: {stage: tree.entries["rate"].value for stage, tree in arm.tree.entries["stages"].entries.items()}
        for name, arm in arms.items()
    }
    assert rates == {
        "base": {"a": 1, "b": 2},
        "one": {"a": 1},
        "more": {"a": 1, "b": 2, "c": 3},
        "base.rate-1": {"a": 1, "b": 1},
        "base.rate-4": {"a": 4, "b": 4},
        "one.rate-4": {"a": 4},  # with 1 it is `one` itself
        "more.rate-1": {"a": 1, "b": 1, "c": 1},
        "more.rate-4": {"a": 4, "b": 4, "c": 4},
    }


def test_a_star_sets_a_field_that_is_absent_and_skips_arms_without_the_map(tmp_path: Path) -> None:
    text = "seed: 1\nablations: {other: {stages: {a: {}}}}\nsweep: {stages.*.rate: [1, 2]}\n"
    assert names(text, tmp_path) == ["base", "other", "other.rate-1", "other.rate-2"]


@pytest.mark.parametrize("path", ["stages.*", "nothing.*.rate", "seed.*.rate"])
def test_a_star_that_stands_for_nothing_is_a_problem(path: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(f"seed: 1\nstages: {{a: {{rate: 1}}}}\nsweep: {{{path}: [1]}}\n")
    problems: list[Problem] = []
    expand_arms(parse(File(tmp_path / "spec.yaml"), problems), problems)
    assert len(problems) == 1 and f"`{path}`" in problems[0].message and problems[0].mark.line == 3


def test_an_arm_that_makes_the_same_nodes_is_warned_of_at_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = "  longer: {budget: 20 USD}\n"
    spec = lay_out({"edit": {"sweep:\n  student.seed: [1, 2]\n": arm, "baselines: [gpt]": "baselines: []"}}, tmp_path)
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(cli, ["compile", str(spec)])
    assert result.exit_code == 0
    line = (tmp_path / "sound.yaml").read_text().splitlines().index(arm.rstrip("\n")) + 1
    warning = f"{spec}:{line}:3: warning: the arm `longer` makes the same nodes as `base`\n {line} | {arm}"
    assert warning in result.stderr


def test_many_arms_that_make_the_same_nodes_get_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = "  budget: [1 USD, 2 USD, 3 USD, 4 USD, 5 USD]\n"
    spec = lay_out({"edit": {"  student.seed: [1, 2]\n": budgets, "baselines: [gpt]": "baselines: []"}}, tmp_path)
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(cli, ["compile", str(spec)])
    assert result.exit_code == 0
    assert result.stderr.count("5 arms make the same nodes as `base`: ") == 1
    assert " and 2 more\n" in result.stderr and "the arm `" not in result.stderr
