"""Tests of orcac/cost/variances.py."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from priced import small

from orcac.cost.detectable import list_comparisons
from orcac.cost.flow import Flow
from orcac.cost.variances import measure_variances
from orcac.plan.plan import Plan
from orcac.report.recipe import ReportRecipe
from orcac.rows import Scored
from orcac.score.scores import Answers, write
from orcac.stats.power import Estimate
from orcac.store.store import Store

ITEMS = 400
STUDY: dict[str, Any] = {
    "curriculum": ["pool"],
    "benchmarks": {
        "b": {"format": "puzzles", "task": "boolean_expressions", "size": [3, 5], "take": ITEMS},
        "other": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 10},
    },
    "ablations": {"late": {"curriculum": ["few"]}},
    "replicates": 4,
}


def report_of(plan: Plan) -> ReportRecipe:
    (experiment,) = plan.experiments.values()
    recipe = plan.nodes[experiment.report].recipe
    assert isinstance(recipe, ReportRecipe)
    return recipe


def measure(plan: Plan, store: Store) -> dict[str, Estimate]:
    return measure_variances(plan, store, report_of(plan))


def publish(store: Store, plan: Plan, ref: str) -> Path:
    """Return the folder of a new artifact with the record of a node of the plan."""
    node = plan.nodes[ref]
    folder = store.folder(ref)
    folder.mkdir(parents=True)
    record = {"files": {}, "recipe": node.recipe.model_dump(mode="json", exclude_defaults=True), "summary": {}}
    store.marker(ref).write_text(json.dumps(record))
    return folder


def publish_scores(store: Store, plan: Plan, ref: str, *, skill: float, seed: int) -> None:
    rng = random.Random(seed)
    rows = []
    for number in range(ITEMS):
        score = float(random.Random(number).random() + rng.gauss(0, 0.1) < skill)
        rows.append(
            Scored(id=str(number), source="b", task="t", query=f"q{number}", system_id=1, system="", reference="True",
                   response="", finish_reason="stop", parsed="", outcome="right" if score else "wrong", score=score)
        )  # fmt: skip
    write(publish(store, plan, ref), Answers(rows=rows, checkers=("final-answer",)))


def finish(store: Store, plan: Plan, lucks: dict[str, list[float]]) -> None:
    """Publish the scores of each arm's runs on `b`, whose skill is 0.5 and the luck of the run."""
    for arm in report_of(plan).arms:
        for seed, (run, luck) in enumerate(zip(arm.runs, lucks[arm.name], strict=True)):
            (score,) = [one.score for one in run.evaluations if one.benchmark == "b"]
            publish_scores(store, plan, score, skill=0.5 + luck, seed=10 * len(arm.name) + seed)


LUCKS = {"base": [-0.06, -0.02, 0.02, 0.06], "late": [0.06, -0.06, 0.02, -0.02]}


def test_the_variances_of_finished_replicates_are_measured(tmp_path: Path) -> None:
    plan, store = small(tmp_path, **STUDY), Store(tmp_path / "store")
    assert measure(plan, store) == {}
    finish(store, plan, LUCKS)
    found = measure(plan, store)
    assert list(found) == ["b"]
    assert found["b"].df == 6
    assert found["b"].variances.luck == pytest.approx(0.0516, abs=0.02)  # the standard deviation of LUCKS
    assert 0 < found["b"].variances.churn < found["b"].variances.discordance + 0.05
    (experiment,) = plan.experiments.values()
    on_b, elsewhere = list_comparisons(Flow(plan, store), experiment)
    assert "Measured on finished replicates" in on_b.basis and "Planning values" in elsewhere.basis
    assert on_b.alone[0] < on_b.alone[1]  # at the upper end of the luck's interval


def test_an_unfinished_arm_is_left_out_and_an_unfinished_base_leaves_nothing(tmp_path: Path) -> None:
    plan, store = small(tmp_path, **STUDY), Store(tmp_path / "store")
    finish(store, plan, LUCKS)
    base, late = report_of(plan).arms
    store.marker(late.runs[2].evaluations[0].score).unlink()
    assert measure(plan, store)["b"].df == 3
    store.marker(base.runs[2].evaluations[0].score).unlink()
    assert measure(plan, store) == {}


def test_earlier_studies_of_the_same_student_on_the_same_items_count_once(tmp_path: Path) -> None:
    plan, store = small(tmp_path, **STUDY), Store(tmp_path / "store")
    finish(store, plan, LUCKS)
    recipe = report_of(plan)
    publish(store, plan, next(iter(plan.experiments.values())).report)
    publish(store, plan, recipe.arms[0].student)
    later = small(tmp_path, "later", **STUDY | {"stages": {"pool": {"dataset": "pool", "epochs": 3}}, "ablations": {}})
    assert measure(later, store)["b"].df == 6
    assert measure(plan, store)["b"].df == 6  # not 12: its own report is the same study
    larger = small(
        tmp_path, "larger", **STUDY, student={"size": "160M", "tokenizer": {"vocabulary": 400, "train_on": ["pool"]}}
    )
    assert measure(larger, store) == {}
    redrawn = small(tmp_path, "redrawn", **STUDY | {"replicates": {"data": 2}})
    assert measure(redrawn, store) == {}
