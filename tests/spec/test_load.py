"""Tests of orcac/spec/load.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lay_out

from orcac.spec.load import load
from orcac.spec.problems import SpecErrors


@pytest.fixture(autouse=True)
def unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCAC_UNSET", raising=False)


def test_a_sound_spec_has_all_its_arms_and_values(tmp_path: Path) -> None:
    experiment = load(lay_out({}, tmp_path))
    points = [f"{arm}.seed-{seed}" for arm in ("base", "no-early", "short") for seed in (1, 2)]
    assert list(experiment.arms) == ["base", "no-early", "short", *points]
    assert experiment.base.spec.stages["early"].warmup == 0.03
    assert experiment.base.spec.hardware.train.memory == 8192
    assert experiment.arms["short"].spec.stages["early"].epochs == 1
    assert experiment.base.messages.keys() == {1, 7, 8, 20}


def test_an_arm_shares_the_parts_that_its_patch_does_not_change(tmp_path: Path) -> None:
    arms = load(lay_out({}, tmp_path)).arms
    base, short = arms["base"], arms["short"]
    assert short.tree.entries["teachers"] is base.tree.entries["teachers"]
    assert short.spec.teachers["solver"] is base.spec.teachers["solver"]
    assert short.spec.stages["late"] is base.spec.stages["late"]


def test_a_path_is_relative_to_the_file_that_contains_it(tmp_path: Path) -> None:
    lay_out({}, tmp_path)
    (tmp_path / "sub" / "data").mkdir(parents=True)
    (tmp_path / "sub" / "data" / "table.jsonl").write_text('{"q": "3 + 3?", "a": "6"}\n')
    (tmp_path / "sub" / "own.yaml").write_text("messages: {7: {text: Answer.}, 8: {text: Why?}}\n")
    patch = "queries: {table: {path: data/table.jsonl}}\nsystem_messages: {library: own.yaml}\n"
    (tmp_path / "sub" / "spec.yaml").write_text(f"extends: ../sound.yaml\n{patch}")
    arm = load(tmp_path / "sub" / "spec.yaml").base
    assert arm.files["queries", "table", "path"].files == (tmp_path / "sub" / "data" / "table.jsonl",)
    assert arm.files["benchmarks", "rows", "path"].files == (tmp_path / "data" / "table.jsonl",)
    assert arm.messages[7] == "Answer."


def test_a_benchmark_without_its_files_is_left_out_if_the_spec_allows_it(tmp_path: Path) -> None:
    edit = {"rows: {format: jsonl, path: data/table.jsonl": "rows: {format: jsonl, missing: skip, path: data/no.jsonl"}
    assert load(lay_out({"edit": edit}, tmp_path)).base.left_out == {
        "rows": f"`data/no.jsonl` does not exist; looked for {tmp_path}/data/no.jsonl"
    }


def test_an_error_of_a_map_that_an_extending_spec_patches_points_at_the_patch(tmp_path: Path) -> None:
    lay_out({}, tmp_path)
    (tmp_path / "small.yaml").write_text(
        "extends: sound.yaml\nstudent:\n  max_length: 512\n  shape: null\n  size: null\n"
    )
    with pytest.raises(SpecErrors, match=r"small\.yaml:3:3: give exactly one of base, size and shape \(none given\)"):
        load(tmp_path / "small.yaml")


def test_the_problems_of_a_spec_and_of_the_file_it_extends_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seed: 1\nseed: 2\nextends: nothing.yaml\n")
    (tmp_path / "spec.yaml").write_text("name: x\nname: y\nextends: a.yaml\n")
    with pytest.raises(SpecErrors) as caught:
        load(tmp_path / "spec.yaml")
    assert [str(problem.mark).rpartition("/")[2] for problem in caught.value.problems] == [
        "a.yaml:2:1",
        "a.yaml:3:10",
        "spec.yaml:2:1",
    ]
