"""Tests of orcac/cli/results.py and orcac/report/across.py: the figures of several reports as one table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import studies
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from orcac.cli import cli
from orcac.cli.results import _describe
from orcac.errors import InputError
from orcac.report.across import COLUMNS, Figure, _list_metrics, list_figures, read_conditions
from orcac.report.results import Against, Judging, read_json
from orcac.stats.judging import Judgement, compare_pairs
from orcac.store.store import Store

HOSTILE = "=1+1\x1b[31m<b>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies") / "store"
    studies.publish_study(root, title="fruit", runs=2, baseline="gpt")
    studies.publish_study(root, title="stones", levels={"base": 0.5, HOSTILE: 0.6})
    return root


@pytest.fixture
def store(root: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ORCAC_STORE", str(root))
    monkeypatch.setenv("COLUMNS", "80")
    return Store(root)


def invoke(*line: str) -> Result:
    return CliRunner().invoke(cli, ["results", *line], standalone_mode=False)


def read_csv(*line: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(invoke(*line, "--csv").output)))


def test_every_form_has_the_figures_of_all_reports(store: Store, tmp_path: Path) -> None:
    figures = list_figures(store, [ref for ref in store.refs() if ref.startswith("report/")])
    assert {figure.study for figure in figures} == {"fruit", "stones"}
    printed = json.loads(invoke("--json").output)
    assert [Figure(**row) for row in printed] == figures
    assert len(read_csv()) == len(figures) and tuple(read_csv()[0]) == COLUMNS
    assert f"wrote {len(figures)} figures" in invoke("--parquet", str(tmp_path / "all.parquet")).output
    assert [Figure(**row) for row in pq.read_table(tmp_path / "all.parquet").to_pylist()] == figures


def test_the_reports_of_an_upstream_are_there(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = read_csv()
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "mine"))
    monkeypatch.setenv("ORCAC_UPSTREAM", str(store.root))
    assert read_csv() == every
    study = next(iter({row["study"] for row in every}))
    ref = next(row["report"] for row in every if row["study"] == study)
    shutil.copytree(store.folder(ref), tmp_path / "mine" / ref)
    assert len(read_csv()) == len(every), "a report that both have is there once"


def test_a_figure_is_that_of_the_report(store: Store) -> None:
    (ref,) = {row["report"] for row in read_csv("--where", "study=fruit")}
    (bench,) = read_json(store.folder(ref) / "results.json").benchmarks
    for score in bench.scores:
        where = ("--where", "study=fruit", "--where", f"arm={score.arm}", "--where", "replicate=", "--where", "task=")
        rows = {row["metric"]: row for row in read_csv(*where)}
        assert float(rows["score"]["value"]) == score.mean
        assert (float(rows["score"]["low"]), float(rows["score"]["high"])) == score.interval
        assert len(rows["score"]["score"].split()) == (1 if score.is_baseline else 2)
        assert float(rows["score"]["usd"]) == (2.5 if score.is_baseline else 0.12)
        if score.difference:
            assert float(rows["difference"]["value"]) == score.difference.points
            assert rows["difference"]["verdict"] == score.difference.verdict
        for task in score.tasks:
            where = ("--where", f"arm={score.arm}", "--where", f"task={task.task}", "--where", "metric=difference")
            found = [(float(row["low"]), float(row["high"])) for row in read_csv("--where", "study=fruit", *where)]
            assert found == ([task.difference.interval] if task.difference else [])
    runs = read_csv("--where", "arm=half", "--where", "replicate=*", "--where", "task=", "--where", "replicate!=")
    mean = sum(float(row["value"]) for row in runs) / 2
    (half,) = (score for score in bench.scores if score.arm == "half")
    assert [row["replicate"] for row in runs] == ["1", "2"] and mean == pytest.approx(half.mean)


def test_the_reviews_that_selected_answers_are_among_the_dollars_of_an_arm(tmp_path: Path) -> None:
    made = studies.publish_study(tmp_path / "store", reviews=0.5)
    arms = read_json(made.store.folder(made.report) / "results.json").arms
    assert {arm.usd for arm in arms} == {0.12 + 0.5}
    assert {figure.usd for figure in list_figures(made.store, [made.report])} == {0.12 + 0.5}
    shutil.rmtree(made.store.root / "rate")
    assert {figure.usd for figure in list_figures(made.store, [made.report])} == {None}


def test_no_name_is_a_formula_or_reaches_the_terminal(store: Store) -> None:
    names = {row["arm"] for row in read_csv("--where", "study=stones")}
    assert names == {"base", "'=1+1 [31m<b>"}
    for line in ((), ("--csv",), ("--json",)):
        assert "\x1b" not in invoke(*line).output
    assert any(row["arm"] == HOSTILE for row in json.loads(invoke("--json").output)), "JSON keeps the name"


def test_the_terminal_has_a_row_for_each_arm_in_its_width(store: Store) -> None:
    output = invoke("--where", "study=fruit").output
    assert max(map(len, output.splitlines())) <= 80
    (row,) = (line for line in output.splitlines() if line.startswith("half"))
    (score,) = read_csv("--where", "arm=half", "--where", "metric=difference", "--where", "task=")
    assert f"{100 * float(score['value']):+.1f}".replace("-", "−") in row
    assert "further figures" in output
    assert "addition" in invoke("--where", "task=add*").output
    assert "no finished report" in invoke("--where", "arm=nowhere").output


def test_the_differences_are_drawn_into_a_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "arms.svg"
    assert invoke("--svg", str(path)).output == f"drew 4 differences into {path}\n"
    text = path.read_text()
    assert text.count(">half</text>") == 1 and "fruit" in text and "stones" in text and "addition" not in text
    drawn = invoke("--svg", str(path), "--where", "study=fruit", "--where", "task=addition")
    assert drawn.output == f"drew 3 differences into {path}\n" and "sums: addition" in path.read_text()
    for line, message in (
        (("--svg", str(path), "--csv"), "several forms"),
        (("--svg", str(path), "--where", "arm=base"), "no finished report has a difference"),
        (("--svg", str(tmp_path)), "cannot be written"),
    ):
        error = invoke(*line).exception
        assert isinstance(error, InputError) and message in str(error)


def test_a_wrong_condition_names_the_columns(store: Store) -> None:
    for text in ("arm", "weight=3", "__class__=x", ""):
        error = invoke("--where", text).exception
        assert isinstance(error, InputError) and "the columns are study, arm" in error.fix


def test_a_damaged_report_is_left_out_with_a_warning(store: Store, tmp_path: Path, monkeypatch) -> None:
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    ref = next(ref for ref in copy.refs() if ref.startswith("report/"))
    (copy.folder(ref) / "results.json").write_text("{}")
    monkeypatch.setenv("ORCAC_STORE", str(copy.root))
    result = invoke("--csv")
    assert f"warning: {ref} is left out" in result.stderr and ref not in result.stdout and result.stdout.count("\n") > 9


def test_a_judge_adds_its_ratio_and_its_biases(store: Store) -> None:
    """The candidate gets 8 to 6 where it is shown first, and 7 to 7 where it is second."""
    ref = next(ref for ref in store.refs() if ref.startswith("report/"))
    score = read_json(store.folder(ref) / "results.json").benchmarks[0].scores[0]
    judgements = [
        Judgement(
            question=str(question),
            candidate=8 if first else 7,
            reference=6 if first else 7,
            candidate_first=first,
            candidate_length=20,
            reference_length=10,
        )
        for question in range(4)
        for first in (True, False)
    ]
    judging = Judging(
        judge="j",
        form="pairwise",
        recorded=None,
        reviews=8,
        refused=0,
        unread=0,
        failed=0,
        imitating=0,
        cut=0,
        against=(Against(model="=bard", figures=compare_pairs(judgements)),),
    )
    whole = Figure(study="s", arm="a", benchmark="b", metric="score", value=0.5, usd=None, report=ref)
    figures = {one.metric: one for one in _list_metrics(whole, dataclasses.replace(score, judging=judging))}
    assert figures["ratio to =bard"].value == pytest.approx(7.5 / 6.5) and figures["ratio to =bard"].n == 4
    assert figures["first slot against =bard"].value == 1.0 and figures["longer won against =bard"].value == 1.0
    cells = _describe(figures["first slot against =bard"], with_metric=True)
    assert cells["%"] == "+1.00 points"


def test_a_comparison_without_a_verdict_is_marked() -> None:
    found = Figure(
        study="s", arm="a", benchmark="b", metric="difference", value=0.1, low=0.0, high=0.2, usd=None, report=""
    )
    words = {word: _describe(dataclasses.replace(found, verdict=word), with_metric=False)["verdict"] for word in WORDS}
    assert words == WORDS


WORDS = {"exploratory": "exploratory", "better": "better", "no difference shown": "–", "": ""}
TEXT = st.text("ab*")


@given(TEXT, TEXT)
def test_a_pattern_without_a_star_is_the_text_itself_and_a_star_is_any_text(text: str, more: str) -> None:
    def agrees(pattern: str, arm: str) -> bool:
        figure = Figure(study="", arm=arm, benchmark="", metric="", value=None, usd=None, report="")
        return read_conditions([f"arm={pattern}"])(figure)

    plain = text.replace("*", "")
    assert agrees(plain, plain) and agrees("*", text) and agrees(f"{plain}*", plain + more)
    assert agrees(f"*{plain}", more + plain) and agrees(f"*{plain}*", more + plain + more)
    assert not agrees(f"{plain}c*", plain + more) and not agrees(f"*c{plain}", more + plain)
