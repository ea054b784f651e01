"""Tests of orcac/report/judging.py and orcac/report/reviews.py: specs with a judge go through plan, make and report;
arms are compared on judged scores as on any others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orcac import rows
from orcac.cost.bill import price, total_cost
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.across import list_figures
from orcac.report.compare import Table, compare_benchmarks
from orcac.report.judging import describe_judging, list_judged
from orcac.report.render import render_html, render_markdown
from orcac.report.results import Judging, Results, read_json
from orcac.report.runs import Row
from orcac.report.table import format_table
from orcac.score.scores import Answers
from orcac.spec.load import load
from orcac.store.store import Store


def made(folder: Path, spec: Mapping[str, Any]) -> tuple[Plan, Results]:
    """Make all nodes of a spec, and return the plan and the results of its report."""
    path = folder / "spec.yaml"
    path.write_text(json.dumps({"orcac": 1, "name": "judged", **spec}))
    plan, store = Plan(), Store(folder / "store")
    lower(plan, load(path))
    for ref in plan.nodes:
        make(plan, store, ref)
    return plan, read_json(store.folder(plan.experiments["judged"].report) / "results.json")


def recorded(data: Path, reference: str) -> dict[str, Any]:
    """Return a spec that replays the reviews of Vicuna-13B's answers against those of `reference`."""
    folder, vicuna = data / "fastchat_reviews", "vicuna-13b-20230322-new-hp-fp16"
    questions = str(folder / "question.jsonl")

    def replay(path: str) -> dict[str, Any]:
        return {
            "kind": "replay",
            "path": str(folder / path),
            "fields": {"id": "question_id", "answer": "text"},
            "questions": questions,
            "question_fields": {"id": "question_id", "question": "text"},
        }

    return {
        "teachers": {
            "vicuna": {"model": "vicuna-13b", "endpoint": replay(f"answer/answer_{vicuna}.jsonl")},
            "other": {"model": reference, "endpoint": replay(f"answer/answer_{reference}.jsonl")},
            "reviews": {"model": "gpt-4", "endpoint": replay(f"review/review_{reference}_{vicuna}.jsonl")},
        },
        "judges": {"gpt4": {"teacher": "reviews"}},
        "baselines": ["vicuna"],
        "benchmarks": {
            "vicuna80": {
                "format": "open-ended",
                "path": questions,
                "fields": {"query": "text", "task": "category"},
                "judge": "gpt4",
                "against": ["other"],
            }
        },
    }


@pytest.mark.parametrize(
    ("reference", "totals", "won"), [("bard", (662, 661.5), (39, 13, 28)), ("alpaca-13b", (696.5, 576), (76, 0, 4))]
)
def test_recorded_reviews_are_replayed_through_plan_and_make(
    data: Path, tmp_path: Path, reference: str, totals: tuple[float, float], won: tuple[int, int, int]
) -> None:
    _, results = made(tmp_path, recorded(data, reference))
    (bench,) = results.benchmarks
    (score,) = bench.scores
    assert score.judging and (score.n, score.judging.reviews, score.judging.unread) == (80, 80, 0)
    (against,) = score.judging.against
    found = against.figures
    assert (found.candidate_total, found.reference_total) == totals
    assert (found.wins, found.ties, found.losses) == won
    assert found.position_bias is None
    assert "position bias cannot be measured" in " ".join(describe_judging(bench))


def test_an_embedded_judge_shows_its_bias_in_every_form_of_the_report(tmp_path: Path) -> None:
    questions = [{"q": f"True and not ( False or True ) or {word} is"} for word in ("True", "False")]
    questions += [{"q": f"<script>alert({number})</script>?"} for number in range(40)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    judge = {"model": "judge", "endpoint": {"kind": "solver"}, "sampling": {"extra": {"first_bonus": 1.0}}}
    spec = {
        "teachers": {
            "good": {"model": "expert", "endpoint": {"kind": "solver"}},
            "poor": {"model": "assistant", "endpoint": {"kind": "solver"}},
            "j": judge | {"price": {"input": 1, "output": 1}},
        },
        "baselines": ["poor", "good"],  # a reference is not judged against itself
        "benchmarks": {
            "open": {
                "format": "open-ended",
                "path": "q.jsonl",
                "fields": {"query": "q"},
                "judge": "j",
                "against": ["good"],
            }
        },
    }
    plan, results = made(tmp_path, spec)
    (bench,) = results.benchmarks
    (score,) = bench.scores
    assert (score.arm, score.verdict, bench.without_row) == ("poor (baseline)", "judged", ("good (baseline)",))
    assert score.judging
    found = score.judging.against[0].figures
    assert found.position_bias == pytest.approx(1.0, abs=0.1)
    asked = {teacher.name: teacher for teacher in results.teachers}
    assert (asked["judge (judge)"].requests, asked["expert"].requests) == (84, 42), "the references were asked too"
    store = Store(tmp_path / "store")
    (usd,) = {figure.usd for figure in list_figures(store, [plan.experiments["judged"].report])}
    assert usd == asked["judge (judge)"].usd > 0
    cells = list_judged(bench)[0]
    assert cells.first_slot == "+1.00"
    page = render_html(results)
    assert "<script>alert(" not in page
    for text in (format_table(results), render_markdown(results), page):
        assert "+1.00" in text and "expert" in text
        assert "guessing 0.0 %" not in text and "constant answer 100" not in text
        assert "both orders together cancel this out" in " ".join(text.split())
    cost = total_cost(plan, price(plan, Store(tmp_path / "empty")), list(plan.nodes))
    assert cost.requests.low <= 84 + 42 + 42 <= cost.requests.high
    assert cost.usd.mid > 0


def test_a_judged_study_with_replicates_gets_verdicts_from_the_spec_to_the_report(tmp_path: Path) -> None:
    questions = [f"I have {word} pigs and a drum. How many animals do I have?" for word in ("two", "three", "four")]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"q": text}) + "\n" for text in questions))
    solver = {"kind": "solver"}
    extra = {"first_bonus": 0.5, "prose_rate": 0.1}
    spec = {
        "replicates": 2,
        "queries": {"q": {"format": "puzzles", "task": "object_counting", "size": [2, 3], "take": 60}},
        "teachers": {
            "good": {"model": "expert", "endpoint": solver, "price": {"input": 1, "output": 1}},
            "j": {
                "model": "judge",
                "endpoint": solver,
                "sampling": {"extra": extra},
                "price": {"input": 1, "output": 1},
            },
        },
        "datasets": {"d": {"teacher": "good", "queries": ["q"]}},
        "student": {
            "shape": {"hidden": 32, "layers": 1, "heads": 2, "intermediate": 48},
            "tokenizer": {"vocabulary": 400, "train_on": ["d"]},
            "max_length": 256,
        },
        "stages": {"s": {"dataset": "d", "epochs": 1, "batch": "1 row", "learning_rate": 0.01}},
        "benchmarks": {
            "open": {
                "format": "open-ended",
                "path": "q.jsonl",
                "fields": {"query": "q"},
                "max_tokens": 24,
                "temperature": 1.0,  # else all runs of so small a student may answer alike, and count once
                "judge": "j",
                "against": ["good"],
            }
        },
        "ablations": {"untrained": {"curriculum": []}, "longer": {"stages": {"s": {"epochs": 3}}}},
    }
    _, results = made(tmp_path, spec)
    (bench,) = results.benchmarks
    scores = {score.arm: score for score in bench.scores}
    assert scores.keys() == {"base", "untrained", "longer"}
    longer, untrained = scores["longer"], scores["untrained"]
    assert longer.difference and untrained.difference and longer.judging and untrained.judging
    assert (longer.difference.runs, longer.difference.df) == ((2, 2), 2)
    assert longer.difference.verdict in ("better", "worse", "no difference shown")
    assert len(longer.runs) == 2 and longer.judging.reviews == 2 * 2 * 3 and untrained.judging.reviews == 2 * 3
    teachers = {teacher.name: teacher for teacher in results.teachers}
    assert teachers["judge (judge)"].requests == 2 * 12 + 6
    assert teachers["judge (judge)"].usd == pytest.approx(
        sum(one.judging.usd for one in scores.values() if one.judging)
    )
    assert teachers["expert"].requests == 3 and longer.judging.usd > 0
    for text in (format_table(results), render_markdown(results), render_html(results)):
        assert "longer" in text and "judge" in text


def test_arms_are_compared_on_judged_scores_over_items_and_replicates() -> None:
    draw = random.Random(0)
    judging = Judging(
        judge="j",
        form="pairwise",
        recorded=None,
        reviews=0,
        refused=1,
        unread=2,
        failed=0,
        imitating=3,
        cut=4,
        against=(),
    )

    def row(better: float) -> Row:
        runs = []
        for _ in range(3):
            scored = [
                rows.Scored(
                    id=f"{n}", source="b", task="t", query="q", system_id=1, system="", response=f"{draw.random()}",
                    finish_reason="stop", parsed="", outcome="judge unread" if n == 7 else "judged",
                    score=None if n == 7 else min(1.0, max(0.0, draw.gauss(0.5 + better, 0.1))),
                )
                for n in range(200)
            ]  # fmt: skip
            runs.append(Answers(rows=scored, checkers=("judge j",)))
        return Row([runs], judging=judging)

    (bench,) = compare_benchmarks([Table("open", "", {"base": row(0.0), "better": row(0.2)})], base="base")
    difference = bench.scores[1].difference
    assert difference and (difference.verdict, difference.items) == ("better", 199)
    assert difference.points == pytest.approx(0.2, abs=0.03)
    assert bench.scores[0].outcomes["judge unread"] == 3
    lines = " ".join(describe_judging(bench))
    assert "1 refused, 2 without a score in range" in lines
    assert "3 answers imitate" in lines and "4 answers were cut off" in lines
