"""Tests of orcac/cli/diff.py and orcac/report/rescored.py, on arms, specs and git revisions, and of the output that
README.md and docs show."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orcac import rows
from orcac.cli.diff import command
from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.score.scores import Answers, write
from orcac.spec.load import load
from orcac.store.store import Store

ROOT = Path(__file__).parents[2]
SMOKE = (ROOT / "specs" / "smoke.yaml").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "a.yaml").write_text(SMOKE)
    return tmp_path


def diff(*arguments: str) -> tuple[str, int]:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return done.output, done.return_value


def found(*arguments: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(diff(*arguments, "--json")[0])
    return result


def test_a_spec_is_the_same_as_itself(folder: Path) -> None:
    assert diff("a.yaml", "a.yaml") == ("\na.yaml -> a.yaml\n  the same\n", 0)


def test_what_changes_nothing_that_is_made_says_so(folder: Path) -> None:
    (folder / "b.yaml").write_text(SMOKE.replace("shards: 2", "shards: 5").replace("about: every", "about: each"))
    text, code = diff("a.yaml", "b.yaml")
    assert "about: every rule but rate once -> each rule but rate once  (label)" in text
    assert "datasets.pool.shards: 2 -> 5  (execution)" in text
    assert "nothing is remade" in text
    assert code == 1


def test_an_arm_says_what_it_remakes_reuses_and_costs(folder: Path) -> None:
    text, code = diff("a.yaml", "a.yaml:no-first")
    assert code == 1
    assert 'curriculum: ["first", "second"] -> ["second"]' in text
    assert "3 nodes: 1 train, 1 eval, 1 score" in text
    assert "disk" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    (one,) = found("a.yaml", "a.yaml:no-first")
    assert one["changes"] == [{"path": "curriculum", "old": ["first", "second"], "new": ["second"], "kind": "semantic"}]
    assert [ref.partition("/")[0] for ref in one["nodes"]["remade"]] == ["train", "eval", "score"]
    assert one["cost"]["requests"]["mid"] == 0


def test_what_the_store_has_is_not_remade(folder: Path) -> None:
    (before,) = found("a.yaml", "a.yaml:no-first")
    train = before["nodes"]["remade"][0]
    store = Store(folder / "store")
    out = store.folder(train) / "work" / "out"
    out.mkdir(parents=True)
    with store.lease(train):
        store.publish(train, out, {"ref": train, "summary": {}, "inputs": {}, "made": {"seconds": 1.0}})
    (after,) = found("a.yaml", "a.yaml:no-first")
    assert after["nodes"]["stored"] == [train]
    assert after["nodes"]["remade"] == before["nodes"]["remade"][1:]


def publish_scores(folder: Path, spec: str, checker: str, right: dict[str, int]) -> None:
    """Publish the scores of all arms of a spec on its 40 items: each arm is right on its first few."""
    plan, store = Plan(), Store(folder / "store")
    lower(plan, load(folder / spec))
    ((_, experiment),) = plan.experiments.items()
    for arm, count in right.items():
        scored = [
            rows.Scored(
                id=f"{number:020}",
                source="held-out",
                task="t",
                query=f"q{number}",
                system_id=1,
                system="",
                reference="True",
                options=["True", "False"],
                response="",
                finish_reason="stop",
                parsed="True" if number < count else "False",
                outcome="right" if number < count else "wrong",
                score=float(number < count),
            )
            for number in range(40)
        ]
        ref = experiment.addresses[arm]["score/held-out"]
        out = store.folder(ref) / "work" / "out"
        out.mkdir(parents=True)
        with store.lease(ref):
            write(out, Answers(rows=scored, checkers=(checker,)))
            store.publish(ref, out, {"ref": ref, "summary": {}, "inputs": {}, "made": {"seconds": 1.0}})


def test_two_checkers_on_finished_answers_name_the_verdicts_that_change(folder: Path) -> None:
    (folder / "b.yaml").write_text(SMOKE.replace("max_tokens: 120", "max_tokens: 120, checker: first-capital"))
    publish_scores(folder, "a.yaml", "final-answer", {"base": 30, "no-first": 28})
    assert found("a.yaml", "b.yaml")[0]["rescored"] == []
    publish_scores(folder, "b.yaml", "first-capital", {"base": 30, "no-first": 2})
    text, _ = diff("a.yaml", "b.yaml")
    text = " ".join(text.split())
    assert (
        "held-out, no-first, by final-answer -> first-capital: 70.0 % -> 5.0 %, 26 of 40 answers; "
        "no difference shown -> scores lower"
    ) in text
    assert "held-out, base" not in text  # no score of it changes
    (one,) = found("a.yaml", "b.yaml")
    assert [(row["arm"], row["changed"], row["new_verdict"]) for row in one["rescored"]] == [
        ("base", 0, None),
        ("no-first", 26, "scores lower"),
    ]


def test_checkers_that_agree_are_reported_as_such(folder: Path) -> None:
    (folder / "b.yaml").write_text(SMOKE.replace("max_tokens: 120", "max_tokens: 120, checker: first-capital"))
    for spec, checker in (("a.yaml", "final-answer"), ("b.yaml", "first-capital")):
        publish_scores(folder, spec, checker, {"base": 30, "no-first": 28})
    assert "the checkers give every finished answer the same score" in " ".join(diff("a.yaml", "b.yaml")[0].split())


def test_one_spec_alone_compares_its_arms_with_the_base(folder: Path) -> None:
    (folder / "a.yaml").write_text(SMOKE + "  longer: {stages: {second: {epochs: 2}}}\n")
    text, code = diff("a.yaml")
    assert code == 1
    assert "a.yaml -> a.yaml:no-first" in text
    assert "a.yaml -> a.yaml:longer" in text
    *_, heads, no_first, longer, legend = text.rstrip().splitlines()  # the table of all arms, last
    assert heads.split()[:3] == ["against", "a.yaml", "to"]
    assert no_first.split()[-1] == longer.split()[-1] == found("a.yaml")[0]["shows_points"] != ""
    assert legend.startswith("shows: the smallest difference")
    assert [one["new"] for one in found("a.yaml")] == ["a.yaml:no-first", "a.yaml:longer"]


def test_of_many_arms_each_change_is_a_row_with_the_ranges_of_its_arms(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcac.cli.diff.LISTED", 3)
    monkeypatch.setattr("orcac.cli.diff.GROUPED", 3)
    (folder / "a.yaml").write_text(SMOKE + "sweep: {stages.second.epochs: [2, 3, 4]}\n")
    text, _ = diff("a.yaml")
    heads, *rows, total, hint = text.strip().splitlines()
    assert heads.split() == ["against", "a.yaml", "arms", "requests", "USD", "GPU", "h"]
    assert [row.split("  ")[0] for row in rows] == [
        'curriculum: ["second"]',
        *(f"stages.second.epochs: {epochs}" for epochs in (2, 3, 4)),
    ]
    assert [row.split()[2] for row in rows] == ["4", "2", "2", "2"]
    assert total.startswith("7 arms together: ")
    assert hint.startswith("`orcac diff a.yaml a.yaml:no-first` shows one arm")


def test_replicates_are_counted_beside_their_arm(folder: Path) -> None:
    (folder / "a.yaml").write_text(SMOKE + "replicates: 3\n")
    text, _ = diff("a.yaml", "a.yaml:no-first")
    assert len(re.findall(r"\+ \w+/\w+  no-first: .* × 3", text)) == 3
    (one,) = found("a.yaml", "a.yaml:no-first")
    assert one["replicates"] == 3 and len(one["nodes"]["remade"]) == 9


def test_a_revision_is_compared_with_the_file_of_today(folder: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True
        )

    (folder / "specs").mkdir()
    (folder / "specs" / "base.yaml").write_text(SMOKE)
    (folder / "specs" / "child.yaml").write_text("extends: base.yaml\nname: child\nseed: 5\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    (folder / "specs" / "base.yaml").write_text(SMOKE.replace("take: 200", "take: 100"))
    (one,) = found("HEAD:specs/child.yaml", "specs/child.yaml")
    assert [(change["path"], change["old"], change["new"]) for change in one["changes"]] == [
        ("queries.boolean.take", 200, 100)
    ]
    assert (
        found("HEAD:specs/base.yaml:no-first", "specs/base.yaml:no-first")[0]["old"] == "HEAD:specs/base.yaml:no-first"
    )


def test_a_revision_of_a_folder_outside_git_is_an_error_that_names_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    with pytest.raises(InputError, match=f"HEAD:a.yaml: the folder {folder} is in no git repository"):
        diff("HEAD:a.yaml", "a.yaml")


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ("nothing.yaml", "no such file"),
        ("a.yaml:nobody", "no arm `nobody`"),
        ("HEAD:nothing.yaml", "HEAD:nothing.yaml"),
        ("--upload-pack=x:a.yaml", "no such file"),
    ],
)
def test_a_side_that_is_not_there_is_an_error_with_a_fix(folder: Path, side: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        diff("--json", "--", "a.yaml", side)
    assert caught.value.exit_code == 2
    assert caught.value.fix


def test_what_a_spec_holds_does_not_steer_the_terminal(folder: Path) -> None:
    (folder / "b.yaml").write_text(
        SMOKE.replace("about: every rule but rate once", 'about: "\\e[31mred\\e]0;title\\a"').replace(
            "model: expert", 'model: expert\n    sampling: {extra: {"\\e[1mkey": "\\e[2J"}}'
        )
    )
    text, _ = diff("a.yaml", "b.yaml")
    assert "about: every rule but rate once ->  [31mred ]0;title" in text
    assert "extra. [1mkey: (absent) ->  [2J" in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize(
    ("page", "spec", "arm"),
    [
        ("README.md", "specs/more-expert.yaml", "more-expert"),
        ("docs/ablations.md", "specs/orca-13b.yaml", "no-assistant"),
    ],
)
def test_the_pages_show_the_real_output(page: str, spec: str, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ORCAC_STORE", "none")
    monkeypatch.setenv("COLUMNS", "80")
    for variable in ("ORCAC_DATA", "EVAL"):
        monkeypatch.delenv(variable, raising=False)
    sides = (spec, f"{spec}:{arm}")
    shown = (ROOT / page).read_text().partition(f"$ orcac diff {' '.join(sides)}\n")[2].partition("```")[0]
    text, _ = diff(*sides)
    assert [line.rstrip() for line in text.splitlines()] == shown.splitlines()


def test_the_specs_of_the_readme_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, own = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert patch == (ROOT / "specs" / "more-expert.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(own)
    Path("mine.jsonl").write_text('{"question": "1 + 1?"}\n')
    Path("path/to/model").mkdir(parents=True)
    Path("path/to/model/config.json").write_text("{}")
    assert diff("mine.yaml", "mine.yaml")[1] == 0


def test_specs_of_baselines_alone_differ_in_their_baselines(folder: Path) -> None:
    text = (
        "orcac: 1\nname: a\nteachers: {t: {model: expert, endpoint: {kind: solver}}}\nbaselines: [t]\n"
        "benchmarks: {b: {format: puzzles, task: navigate, size: [3, 5], take: 10}}\n"
    )
    (folder / "a.yaml").write_text(text)
    (folder / "b.yaml").write_text(text.replace("take: 10", "take: 20"))
    (one,) = found("a.yaml", "b.yaml")
    assert [ref.partition("/")[0] for ref in one["nodes"]["remade"]] == ["sample", "collect", "score"]
    assert one["cost"]["requests"]["mid"] == 20
