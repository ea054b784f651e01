"""Broken specs as data (broken/cases.yaml): all that is said of each, as a user sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cases import CASES, lay_out
from click.testing import CliRunner

from orcac.cli import cli
from orcac.errors import InputError
from orcac.spec import source
from orcac.spec.load import load
from orcac.spec.problems import SpecErrors


def said(case: dict[str, Any], folder: Path) -> str:
    """What is said of a broken spec, its folder left out."""
    with pytest.raises(InputError) as caught:
        load(lay_out(case, folder))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCAC_UNSET", raising=False)


def test_the_sound_spec_is_sound(tmp_path: Path) -> None:
    experiment = load(lay_out({}, tmp_path))
    points = [f"{arm}.seed-{seed}" for arm in ("base", "no-early", "short") for seed in (1, 2)]
    assert list(experiment.arms) == ["base", "no-early", "short", *points]
    assert experiment.base.spec.stages["early"].warmup == 0.03
    assert experiment.base.spec.hardware.train.memory == 8192
    assert experiment.arms["short"].spec.stages["early"].epochs == 1
    assert experiment.base.messages.keys() == {1, 7, 8, 20}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_broken(case: dict[str, Any], tmp_path: Path) -> None:
    assert said(case, tmp_path) == case["says"].rstrip("\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"orcac: 1\nname: \xff", "spec.yaml:2:7: not UTF-8"),
        (b"x: " + b"y" * (5 * 2**20), "larger than 4 MiB"),
        (b"[" * 10_000, "more than 50 deep"),
        (b"orcac: " + b"9" * 5_000, "`999999999999999999999999999999999999999999999999999999999...` is not a number"),
    ],
    ids=["not UTF-8", "huge", "deep", "long number"],
)
def test_hostile_files(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "spec.yaml")
    assert what in str(caught.value)


def test_a_path_is_relative_to_the_file_that_it_is_written_in(tmp_path: Path) -> None:
    lay_out({}, tmp_path)
    (tmp_path / "sub" / "data").mkdir(parents=True)
    (tmp_path / "sub" / "data" / "table.jsonl").write_text('{"q": "3 + 3?"}\n')
    (tmp_path / "sub" / "own.yaml").write_text("messages: {7: {text: Answer.}, 8: {text: Why?}}\n")
    patch = "queries: {table: {path: data/table.jsonl}}\nsystem_messages: {library: own.yaml}\n"
    (tmp_path / "sub" / "spec.yaml").write_text(f"extends: ../sound.yaml\n{patch}")
    arm = load(tmp_path / "sub" / "spec.yaml").base
    assert arm.found["queries", "table", "path"].files == (tmp_path / "sub" / "data" / "table.jsonl",)
    assert arm.found["benchmarks", "rows", "path"].files == (tmp_path / "data" / "table.jsonl",)
    assert arm.messages[7] == "Answer."


def test_arms_that_make_the_same_are_warned_of_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = "  longer: {budget: 20 USD}\n"
    spec = lay_out({"edit": {"sweep:\n  student.seed: [1, 2]\n": arm, "baselines: [gpt]": "baselines: []"}}, tmp_path)
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(cli, ["compile", str(spec)])
    assert result.exit_code == 0
    line = (tmp_path / "sound.yaml").read_text().splitlines().index(arm.rstrip("\n")) + 1
    warning = f"{spec}:{line}:3: warning: the arm `longer` makes nothing else than `base`\n {line} | {arm}"
    assert warning in result.stderr


def test_many_arms_that_make_the_same_are_warned_of_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = "  budget: [1 USD, 2 USD, 3 USD, 4 USD, 5 USD]\n"
    spec = lay_out({"edit": {"  student.seed: [1, 2]\n": budgets, "baselines: [gpt]": "baselines: []"}}, tmp_path)
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(cli, ["compile", str(spec)])
    assert result.exit_code == 0
    assert result.stderr.count("5 arms make nothing else than `base`: ") == 1
    assert " and 2 more\n" in result.stderr and "the arm `" not in result.stderr


def test_what_a_spec_holds_does_not_steer_the_terminal(tmp_path: Path) -> None:
    name = '"\\e[2J\\n"'
    text = said({"edit": {"pool: {teacher: solver": f"pool: {{teacher: {name}"}}, tmp_path)
    assert "29:19: `\\x1b[2J\\n`: a name is" in text


def test_a_file_of_too_many_values_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_VALUES", 1000)
    (tmp_path / "spec.yaml").write_text("- x\n" * 2000 + "]")
    with pytest.raises(SpecErrors, match=r"spec.yaml:1000:3: the file holds more than .* values"):
        load(tmp_path / "spec.yaml")


@pytest.mark.filterwarnings("error")
def test_an_anchor_may_be_used_again(tmp_path: Path) -> None:
    edit = {"about: all of the language": "about: &a again", "name: sound": "name: &a sound"}
    assert load(lay_out({"edit": edit}, tmp_path)).base.spec.about == "again"


def test_a_folded_text_is_read_as_yaml_says(tmp_path: Path) -> None:
    folded = "messages:\n    20: >-\n      Think\n      step by step."
    assert (
        load(lay_out({"edit": {'messages: {20: "Explain."}': folded}}, tmp_path)).base.messages[20]
        == "Think step by step."
    )


def test_problems_of_an_extended_file_and_its_own_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seed: 1\nseed: 2\nextends: nothing.yaml\n")
    (tmp_path / "spec.yaml").write_text("name: x\nname: y\nextends: a.yaml\n")
    with pytest.raises(SpecErrors) as caught:
        load(tmp_path / "spec.yaml")
    assert [str(problem.mark).rpartition("/")[2] for problem in caught.value.problems] == [
        "a.yaml:2:1",
        "a.yaml:3:10",
        "spec.yaml:2:1",
    ]
