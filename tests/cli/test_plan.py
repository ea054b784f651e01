"""Tests of orcac/cli/plan.py and orcac/cli/compile.py: the text, the JSON and the picture."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from orcac.cli.plan import command
from orcac.errors import InputError
from orcac.store.store import Store

SPEC = """\
orcac: 1
name: study
seed: 3
queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 20}}
system_messages: {messages: {7: "Explain."}, draw: {q: [7]}}
teachers: {t: {model: expert, endpoint: {kind: solver}}}
datasets:
  answers: {teacher: t, queries: [q]}
  a-few-of-them-with-a-name-that-is-rather-long: {teacher: t, sample: {from: answers, take: 10}}
student: {size: tiny, tokenizer: {vocabulary: 400, train_on: [answers]}}
stages:
  first: {dataset: answers}
  second: {dataset: a-few-of-them-with-a-name-that-is-rather-long}
curriculum: [first, second]
benchmarks: {b: {format: puzzles, task: navigate, size: [3, 5], take: 10}}
ablations:
  no-first: {curriculum: [second]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(folder: Path, *options: str, arms: int = 0) -> Result:
    more = "".join(f"  arm-{index}: {{stages: {{second: {{epochs: {index + 10}}}}}}}\n" for index in range(arms))
    (folder / "study.yaml").write_text(SPEC + more)
    return CliRunner().invoke(command, ["study.yaml", *options])


def plan_json(folder: Path) -> Result:
    return CliRunner().invoke(command, [str(folder / "study.yaml"), "--json"])


def nodes(result: Result) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_each_node_is_listed_once_in_80_columns_under_those_that_want_it(folder: Path) -> None:
    text = plan(folder).stdout
    rows = nodes(plan(folder, "--json"))
    assert max(map(len, text.splitlines())) <= 80
    kinds = Counter(line.split()[0] for line in text.splitlines() if line.startswith("  ") and "/" in line)
    assert kinds == Counter(str(row["ref"])[:-12] for row in rows)
    shared, base, arm = text.index("shared by both arms"), text.index("base alone"), text.index("no-first alone")
    assert shared < base < arm
    for row in rows:
        place = text.index(str(row["ref"])[:-12])
        part = "all" if place < base else "base" if place < arm else "no-first"
        assert row["arms"] == {"all": ["base", "no-first"]}.get(part, [part])


def test_what_is_done_is_said_and_not_counted(folder: Path) -> None:
    first, *rest = nodes(plan(folder, "--json"))
    marker = folder / "store" / str(first["ref"]) / "artifact.json"
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    text = plan(folder).stdout
    assert text.splitlines()[-1] == f"in all: {1 + len(rest)} nodes, {len(rest)} to make"
    assert [line.split()[0] for line in text.splitlines() if " done" in line] == [str(first["ref"])[:-12]]


def test_of_many_arms_each_is_a_line_unless_all_is_asked_for(folder: Path) -> None:
    short, full = plan(folder, arms=30).stdout, plan(folder, "--all", arms=30).stdout
    assert max(map(len, short.splitlines())) <= 80
    line = next(line for line in short.splitlines() if line.startswith("arm-29 "))
    assert line.split()[-2:] == ["3", "3"]  # its own: a stage, an evaluation and its scores
    assert "arm-29 alone: 3 nodes, 3 to make" in full
    assert full.count("  eval/") == 32 and "  eval/" not in short


def test_replicates_are_counted_and_their_nodes_are_one_line(folder: Path) -> None:
    plan(folder)
    study = folder / "study.yaml"
    study.write_text(study.read_text() + "replicates: {base: 3, arms: 2}\n")
    result = CliRunner().invoke(command, ["study.yaml"]).stdout
    base, arm = result.partition("base alone, 3 replicates: ")[2].split("no-first alone, 2 replicates: ")
    rows = {" ".join(line.split()[1:-2]) for line in base.splitlines() if "/" in line}
    assert rows == {"tiny #2", "answers", "first × 3", "second × 3", "b × 3"}  # the arm has no third student
    assert "second × 2" in arm and "tiny × 2" in result.partition("base alone")[0]
    ref = next(row["ref"] for row in nodes(plan_json(folder)) if row["label"] == "base: second #1")
    marker = folder / "store" / str(ref) / "artifact.json"
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    text = CliRunner().invoke(command, ["study.yaml"]).stdout
    assert "2 to do, 1 done" in text
    full = CliRunner().invoke(command, ["study.yaml", "--all"]).stdout
    assert "second #1" in full and " × " not in full


def test_the_picture_is_written_and_its_path_printed(folder: Path) -> None:
    result = plan(folder, "--svg", "pictures/plan.svg")
    assert result.stdout == "pictures/plan.svg\n"
    ElementTree.parse(folder / "pictures/plan.svg")
    assert [path.name for path in (folder / "pictures").iterdir()] == ["plan.svg"]
    both = plan(folder, "--svg", "plan.svg", "--json")
    assert len(nodes(both)) and (folder / "plan.svg").read_bytes() == (folder / "pictures/plan.svg").read_bytes()


def test_a_picture_that_cannot_be_written_is_an_error_of_the_user(folder: Path) -> None:
    (folder / "taken").write_text("")
    error = plan(folder, "--svg", "taken/plan.svg").exception
    assert isinstance(error, InputError) and "cannot be written" in str(error)
    assert plan(folder, "--svg", ".").exit_code == 2
    assert (folder / "taken").read_text() == ""


def test_how_far_a_node_is_is_said_where_it_is_known(folder: Path) -> None:
    work = folder / "store" / str(nodes(plan(folder, "--json"))[0]["ref"]) / "work"
    work.mkdir(parents=True)
    (work / "progress.json").write_text('{"done": 2, "total": 8, "unit": "answers"}')
    text = plan(folder).stdout
    assert text.count("partial 25 %") == 1 and max(map(len, text.splitlines())) <= 80


def test_baselines_are_no_arm_and_take_nothing_from_what_the_arms_share(folder: Path) -> None:
    result = plan(folder)
    study = folder / "study.yaml"
    study.write_text(study.read_text() + "baselines: [t]\n")
    text = CliRunner().invoke(command, ["study.yaml"]).stdout
    assert text.splitlines()[0] == result.stdout.splitlines()[0]
    assert "shared by both arms" in text and "shared by some" not in text
    alone = text.partition("(baselines) alone: ")[2].partition("in all")[0]
    assert alone.startswith("2 nodes") and "t on b" in alone and "t: b" in alone
    drawn = CliRunner().invoke(command, ["study.yaml", "--svg", "plan.svg"])
    assert drawn.exit_code == 0 and "2 arms" in (folder / "plan.svg").read_text()


def test_baselines_that_nothing_scores_are_no_row_among_many_arms(folder: Path) -> None:
    plan(folder, arms=30)
    (folder / "open.jsonl").write_text('{"q": "Why?"}\n')
    study = folder / "study.yaml"
    judged = "{b: {format: open-ended, path: open.jsonl, fields: {query: q}, judge: t, against: [t]}}"
    lines = [
        f"benchmarks: {judged}" if line.startswith("benchmarks") else line for line in study.read_text().splitlines()
    ]
    study.write_text("\n".join([*lines, "baselines: [t]"]))
    result = CliRunner().invoke(command, ["study.yaml"])
    assert result.exit_code == 0 and "arm-29" in result.stdout and "(baselines)" not in result.stdout


def test_the_cpu_time_that_sharing_saved_is_shown(folder: Path) -> None:
    everything = nodes(plan(folder, "--json"))
    store = Store(folder / "store")
    for node in everything:
        with store.lease(str(node["ref"])):
            (folder / "out").mkdir(exist_ok=True)
            store.publish(str(node["ref"]), folder / "out", {"made": {"cpu_seconds": 60.0}})
    apart = sum(60 * len(node["arms"]) for node in everything if isinstance(node["arms"], list))
    line = (
        f"the finished nodes took {60 * len(everything):,} s of CPU; each arm by itself would have taken {apart:,} s in"
    )
    assert 60 * len(everything) < apart and line in " ".join(plan(folder).stdout.split())


@pytest.mark.parametrize("made", [{}, {"made": {"cpu_seconds": "<b>"}}, {"made": {"cpu_seconds": float("nan")}}])
def test_a_record_without_a_cpu_time_counts_for_nothing(folder: Path, made: dict[str, object]) -> None:
    store = Store(folder / "store")
    for node in nodes(plan(folder, "--json")):
        with store.lease(str(node["ref"])):
            (folder / "out").mkdir(exist_ok=True)
            store.publish(str(node["ref"]), folder / "out", made)
    result = plan(folder)
    assert result.exit_code == 0 and "of CPU" not in result.stdout
