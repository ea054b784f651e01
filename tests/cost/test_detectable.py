"""Tests of orcac/cost/detectable.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from priced import NOWHERE, SPEC, small

from orcac.cost.detectable import PlannedComparison, list_comparisons, price_runs
from orcac.cost.flow import Flow
from orcac.errors import InputError
from orcac.stats.power import PRIORS, PRIORS_OF_POINTS, Design, detectable, power_of_equality

BENCHMARK = {"format": "puzzles", "task": "boolean_expressions", "size": [3, 5], "take": 1000}
STUDY: dict[str, Any] = {
    "curriculum": ["pool", "few"],
    "benchmarks": {"b": BENCHMARK, "side": {**BENCHMARK, "take": 250, "primary": False}},
    "ablations": {"late": {"curriculum": ["few"]}, "early": {"curriculum": ["pool"], "replicates": {"arms": 5}}},
    "replicates": {"base": 4, "arms": 3},
}


def comparisons(folder: Path, **changes: Any) -> dict[tuple[str, str], PlannedComparison]:
    plan = small(folder, **STUDY | changes)
    (experiment,) = plan.experiments.values()
    return {(one.benchmark, one.arm): one for one in list_comparisons(Flow(plan, NOWHERE), experiment)}


def test_a_plan_shows_what_its_items_and_replicates_could(tmp_path: Path) -> None:
    found = comparisons(tmp_path)
    assert list(found) == [("b", "late"), ("b", "early"), ("side", "late"), ("side", "early")]
    late, side = found["b", "late"], found["side", "late"]
    assert late.design == Design(items=1000, arms=3, base_runs=4, arm_runs=3, other_df=4)
    assert found["b", "early"].design == Design(items=1000, arms=3, base_runs=4, arm_runs=5, other_df=2)
    assert late.alone == tuple(detectable(late.design, values) for values in PRIORS)
    assert late.family == 2
    assert late.adjusted == tuple(detectable(late.design, values, 0.05 / 2) for values in PRIORS)
    assert (side.family, side.adjusted) == (0, ())
    assert side.alone[0] > late.alone[0]


def test_only_primary_arms_count_in_the_family(tmp_path: Path) -> None:
    every, found = comparisons(tmp_path), comparisons(tmp_path, primary=["early"])
    assert list(found) == [("b", "early"), ("b", "late"), ("side", "early"), ("side", "late")]
    early, late = found["b", "early"], found["b", "late"]
    assert (early.family, late.family, found["side", "early"].family) == (1, 0, 0)
    assert early.adjusted == early.alone == every["b", "early"].alone
    assert late.adjusted == () and late.shown == every["b", "late"].alone


def test_a_plan_respects_the_claim_of_each_benchmark(tmp_path: Path) -> None:
    files = tmp_path / "bbh"
    files.mkdir()
    for number in range(6):
        (files / f"t{number}.json").write_text(json.dumps({"examples": [{"input": f"q{number}?", "target": "Yes"}]}))
    six = {"format": "bbh", "path": str(files / "*.json"), "take": 600}
    found = comparisons(
        tmp_path,
        benchmarks={
            "micro": {**six, "margin": "30pt"},
            "macro": {**six, "average": "macro"},
            "clustered": {**six, "average": "clustered"},
            "four": {**six, "path": [str(files / f"t{number}.json") for number in range(4)], "average": "clustered"},
        },
    )
    micro, macro, clustered, four = (found[name, "late"] for name in ("micro", "macro", "clustered", "four"))
    assert macro.alone == micro.alone and macro.design == micro.design
    assert clustered.design.tasks == 6 and clustered.alone[0] > macro.alone[0]
    assert "varies between tasks by 6.0 points" in clustered.basis
    assert (four.family, four.adjusted, four.design.tasks) == (0, (), None) and "needs 5 tasks" in four.basis
    assert micro.family == 6  # two arms on three benchmarks
    assert micro.equal == tuple(power_of_equality(0.3, micro.design, values) for values in micro.variances)
    assert macro.equal == ()


def test_judged_benchmarks_count_and_points_spread_less_than_verdicts(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("".join(f'{{"q": "Why {number}?"}}\n' for number in range(80)))
    judged = {"format": "open-ended", "path": "q.jsonl", "fields": {"query": "q"}, "against": ["b"]}
    teachers = SPEC["teachers"] | {"j": {"model": "judge", "endpoint": {"kind": "solver"}}}
    judges = {form: {"teacher": "j", "form": form} for form in ("pairwise", "scale", "verdict")}
    benchmarks = {form: judged | {"judge": form} for form in judges}
    benchmarks["alone"] = {key: value for key, value in benchmarks["scale"].items() if key != "against"}
    found = comparisons(tmp_path, teachers=teachers, judges=judges, benchmarks=benchmarks | {"b": BENCHMARK})
    assert {one.family for one in found.values()} == {10}, "the report's Holm counts judged benchmarks too"
    points, verdict = found["pairwise", "late"], found["verdict", "late"]
    assert points.variances == found["alone", "late"].variances == PRIORS_OF_POINTS
    assert verdict.variances == PRIORS and points.alone[0] < verdict.alone[0] / 2
    assert "differ by 1.6 of its points between arm and base" in points.basis and "36% of the items" in verdict.basis


def test_the_reviews_of_a_judge_are_a_part_of_the_price_of_an_answer(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"q": "Why?"}\n{"q": "Why not?"}\n')
    open_ended = {"format": "open-ended", "path": "q.jsonl", "fields": {"query": "q"}, "against": ["b"], "judge": "j"}

    def price_answer(price: float) -> float:
        judge = {"model": "judge", "endpoint": {"kind": "solver"}, "price": {"input": price, "output": price}}
        plan = small(
            tmp_path,
            **STUDY | {"benchmarks": {"b": open_ended}, "teachers": SPEC["teachers"] | {"j": judge}},
            hardware={"train": {"gpus": 1, "price": 2.0}},
        )
        (experiment,) = plan.experiments.values()
        return price_runs(Flow(plan, NOWHERE), experiment, "b").costs.answer

    assert price_answer(1000) - price_answer(0) > 2 * 150 * 1000 / 1e6  # two reviews of 150 tokens or more


def test_other_arms_make_the_luck_better_known(tmp_path: Path) -> None:
    alone = comparisons(tmp_path, ablations={"late": {"curriculum": ["few"]}})["b", "late"]
    assert alone.design.other_df == 0
    assert alone.alone[0] > comparisons(tmp_path)["b", "late"].alone[0]


def test_draws_of_the_data_are_the_replicates_that_count(tmp_path: Path) -> None:
    drawn = comparisons(tmp_path, replicates={"training": 4, "data": 3})["b", "late"]
    assert (drawn.design.arm_runs, drawn.design.base_runs, drawn.runs_per_draw) == (3, 3, 4)
    single = comparisons(tmp_path, replicates=3)["b", "late"]
    assert drawn.alone[0] < single.alone[0]  # the mean of four runs changes less by chance


@pytest.mark.parametrize(
    ("train", "unit"), [({}, "h"), ({"gpus": 1}, "GPU h"), ({"gpus": 1, "price": 2.0}, "USD")], ids=str
)
def test_a_run_is_priced_in_the_best_unit_that_is_known(tmp_path: Path, train: dict[str, Any], unit: str) -> None:
    plan = small(tmp_path, **STUDY, hardware={"train": train})
    (experiment,) = plan.experiments.values()
    prices = price_runs(Flow(plan, NOWHERE), experiment, "b")
    assert prices.unit == unit and prices.costs.run > 0


def test_a_run_that_is_made_has_its_price_still(tmp_path: Path) -> None:
    plan = small(tmp_path, **STUDY)
    (experiment,) = plan.experiments.values()
    flow = Flow(plan, NOWHERE)
    before = price_runs(flow, experiment, "b")
    flow.done |= {ref for ref in plan.nodes if ref.startswith(("train/", "eval/"))}
    assert price_runs(flow, experiment, "b") == before


def test_two_models_that_are_not_trained_borrow_no_luck(tmp_path: Path) -> None:
    arms = {"other": {"curriculum": [], "student": {"seed": 9}}, "late": {"curriculum": ["few"]}}
    found = comparisons(tmp_path, curriculum=[], ablations=arms)
    assert found["b", "other"].design == Design(items=1000, arms=3, base_runs=1, arm_runs=1, other_df=0)
    assert not found["b", "other"].is_replicated
    assert found["b", "late"].design == Design(items=1000, arms=3, base_runs=1, arm_runs=3, other_df=0)


def test_a_study_that_trains_nothing_has_no_price_of_a_run(tmp_path: Path) -> None:
    plan = small(tmp_path, **STUDY | {"curriculum": [], "ablations": {"other": {"student": {"seed": 9}}}})
    (experiment,) = plan.experiments.values()
    with pytest.raises(InputError, match="no arm that answers `b` is trained"):
        price_runs(Flow(plan, NOWHERE), experiment, "b")
