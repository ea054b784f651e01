"""Tests from YAML to rows of stages that are as large or as long as those of another arm: orcac/tokenize/equal.py,
orcac/plan/lower.py, orcac/train/run.py and orcac/cost/equal.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from making import SPEC, Made

from orcac.collect.recipe import CollectSummary
from orcac.cost.bill import price_flow
from orcac.cost.equal import estimate_steps, estimate_tokens
from orcac.cost.flow import Flow
from orcac.errors import InputError
from orcac.spec.problems import SpecErrors

PRICED = {
    name: teacher | {"price": {"input": 1, "output": output}}
    for (name, teacher), output in zip(SPEC["teachers"].items(), (1, 10), strict=True)
}
# a dataset of bare answers, which cost less; and one of which a filter drops some
DATASETS = SPEC["datasets"] | {
    "bare": {"teacher": "bare", "queries": ["q"]},
    "few": {"teacher": "t", "sample": {"from": "d", "take": 5}},
    "filtered": SPEC["datasets"]["d"] | {"filters": {"tokens": {"both": {"max": 38}}}},
}


def stage(**fields: object) -> dict[str, Any]:
    return {"stages": {"s": fields}}


ARMS: dict[str, dict[str, Any]] = {
    "few": stage(dataset="few"),
    "as-many": stage(examples={"same_as": "few"}),
    "as-many-of-that": stage(dataset="bare", examples={"same_as": "as-many"}),
    "mixed": stage(dataset=None, data={"d": 0.5, "bare": 0.5}, examples={"same_as": "base"}),
    "too-few": stage(dataset="few", examples={"same_as": "base"}),
    "repeated": stage(dataset="few", examples={"same_as": "base"}, repeat=True),
    "dear": stage(dataset="bare", dollars={"same_as": "few"}),
    "cheap": stage(dollars={"same_as": "bare"}),
    "bare": stage(dataset="bare"),
    "losses": stage(dataset="filtered", dollars={"same_as": "few"}),
    "part": stage(dataset="bare", dollars={"same_as": "as-many"}),
    "dollars-mixed": stage(dataset=None, data={"d": 0.4, "bare": 0.6}, dollars={"same_as": "bare"}),
    "twice": {"stages": {"s": {}, "again": {"dataset": "d", "epochs": 1, "batch": 1}}, "curriculum": ["s", "again"]},
    "paid-once": stage(dataset="bare", dollars={"same_as": "twice", "stages": ["s", "again"]}, repeat=True),
    "not-twice": stage(dataset="bare", dollars={"same_as": "base"}, repeat=True),
    "too-dear": stage(dataset="few", dollars={"same_as": "base"}),
    "long": stage(epochs=3, batch=4),
    "as-many-steps": stage(dataset="few", epochs=None, steps={"same_as": "long"}, batch=2),
    "five-steps": stage(epochs=None, steps=5, batch=4),
    "steps-of-those": stage(dataset="bare", epochs=None, steps={"same_as": "five-steps"}),
    "steps-of-steps": stage(dataset="bare", epochs=None, steps={"same_as": "as-many-steps"}),
    "length-and-size": stage(examples={"same_as": "few"}, epochs=None, steps={"same_as": "long"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), teachers=PRICED, datasets=DATASETS, ablations=ARMS)


def address(made: Made, arm: str) -> str:
    (found,) = [one for one in made.plan.experiments["made"].addresses[arm] if one.startswith("tokenize/")]
    return found


def counts(made: Made, arm: str = "base") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.make(address(made, arm), arm) / "counts.json").read_text())
    return found


def dollars(made: Made, dataset: str, arm: str = "base") -> float:
    """Return the USD of all answers to a dataset, as `collect` counted them when it asked."""
    record = json.loads((made.make(f"collect/{dataset}", arm) / "artifact.json").read_text())
    usd = CollectSummary.from_json(record["summary"], Path()).usd
    assert usd > 0
    return usd


def test_an_epoch_has_as_many_examples_as_that_of_another_arm(made: Made) -> None:
    assert [counts(made, arm)["packed"] for arm in ("few", "as-many", "as-many-of-that")] == [5, 5, 5]
    assert counts(made, "as-many")["undrawn"] == 7
    assert set(made.learnt(address(made, "as-many"), "as-many")) <= set(made.learnt("tokenize/d"))
    parts = {part["dataset"]: part["examples"] for part in counts(made, "mixed")["parts"]}
    assert parts == {"d": 6, "bare": 6}


def test_too_few_examples_stop_the_run_unless_they_are_repeated(made: Made) -> None:
    with pytest.raises(InputError, match="`few` has 5 examples and its share of the mixture is 12") as caught:
        counts(made, "too-few")
    assert caught.value.fix == "write `repeat: true`, or collect more answers"
    repeated = counts(made, "repeated")
    assert (repeated["packed"], repeated["repeated"]) == (12, 7)


@pytest.mark.parametrize(("arm", "dataset", "other"), [("dear", "bare", "few"), ("losses", "filtered", "few")])
def test_an_epoch_has_the_examples_that_the_dollars_of_another_arm_buy(
    made: Made, arm: str, dataset: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spent, own = dollars(made, other, other), dollars(made, dataset, arm)
    found = counts(made, arm)
    (part,) = found["parts"]
    each = own / part["available"]
    assert found["packed"] == math.floor(spent / each + 1e-9) > 1
    assert spent - each < found["dollars"] <= spent * (1 + 1e-9)
    assert found["dollars"] == pytest.approx(found["packed"] * each)
    text = f"{found['packed']} examples of {each:.4g} USD each for {spent:.4g} USD, the dollars of the other arm"
    assert text in capsys.readouterr().err


def test_rejected_answers_are_paid_for_by_the_examples_that_are_left(made: Made) -> None:
    found, kept = counts(made, "losses"), len(made.kept("filtered", "losses"))
    assert 0 < kept < 12 and found["parts"][0]["available"] == kept
    assert found["packed"] < 5, "the same teacher's answers without losses are those of `few`"


def test_a_part_of_a_dataset_costs_its_share_and_shares_keep_their_sizes(made: Made) -> None:
    used = dollars(made, "d") * 5 / 12  # the arm `as-many` trains on 5 of 12 examples
    each = dollars(made, "bare", "bare") / 12
    assert counts(made, "part")["packed"] == math.floor(used / each)
    mixed = counts(made, "dollars-mixed")
    each = 0.4 * dollars(made, "d") / 12 + 0.6 * dollars(made, "bare", "bare") / 12
    assert mixed["packed"] == math.floor(dollars(made, "bare", "bare") / each)
    assert mixed["dollars"] == pytest.approx(
        sum(part["examples"] / 12 * dollars(made, part["dataset"], "dollars-mixed") for part in mixed["parts"])
    )


def test_answers_that_two_stages_learn_from_are_paid_for_once(made: Made) -> None:
    assert counts(made, "paid-once")["packed"] == counts(made, "not-twice")["packed"] > 12


def test_dollars_that_buy_more_than_there_is_stop_the_run(made: Made) -> None:
    with pytest.raises(InputError, match=r"`few` has 5 examples and its share of the mixture is 1\d"):
        counts(made, "too-dear")


def test_a_price_changes_the_rows_that_depend_on_it_alone(tmp_path: Path, made: Made) -> None:
    dearer = {name: teacher | {"price": {"input": 9, "output": 9}} for name, teacher in PRICED.items()}
    other = Made(tmp_path, teachers=dearer, datasets=DATASETS, ablations=ARMS)
    moved = {arm for arm in ARMS if other.ref(address(other, arm), arm) != made.ref(address(made, arm), arm)}
    assert moved == {arm for arm, patch in ARMS.items() if "dollars" in patch["stages"]["s"]}
    assert other.ref("collect/d") == made.ref("collect/d")


@pytest.mark.parametrize("arm", ["as-many-steps", "steps-of-steps", "length-and-size"])
def test_a_stage_has_as_many_steps_as_that_of_another_arm(
    made: Made, arm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = 3 * math.ceil(counts(made)["rows"] / 4)
    assert made.plan.nodes[made.ref("train/s", arm)].inputs["same_as"] == (made.ref("tokenize/d", "long"),)
    trained = json.loads((made.make("train/s", arm) / "artifact.json").read_text())["summary"]
    assert trained["steps"] == steps
    assert f"{steps} steps, as many as" in capsys.readouterr().err


@pytest.mark.parametrize("arm", ["five-steps", "steps-of-those"])
def test_a_number_of_steps_needs_no_other_rows(made: Made, arm: str) -> None:
    node = made.plan.nodes[made.ref("train/s", arm)]
    assert node.recipe.model_dump(exclude_defaults=True)["steps"] == 5 and not node.inputs["same_as"]
    trained = json.loads((made.make("train/s", arm) / "artifact.json").read_text())["summary"]
    assert trained["steps"] == 5


def test_an_estimate_from_the_answers_agrees_with_the_rows(made: Made, tmp_path: Path) -> None:
    planned = Made(tmp_path, teachers=PRICED, datasets=DATASETS, ablations=ARMS)
    for dataset, arm in (("d", "base"), ("few", "few"), ("bare", "bare")):
        planned.make(f"filter/{dataset}", arm)
    flow = Flow(planned.plan, planned.store)
    todo = [cost for ref, cost in price_flow(flow).items() if ref not in flow.done]
    assert len(todo) > len(ARMS) and all(cost.seconds.mid > 0 for cost in todo)

    def examples(arm: str) -> float:
        rows = flow.rows(planned.ref(address(planned, arm), arm))
        return rows.count.mid * rows.per_row.mid

    for arm in ("as-many", "as-many-of-that", "mixed", "repeated", "paid-once"):
        assert examples(arm) == pytest.approx(counts(made, arm)["packed"], rel=0.1), arm
    for arm in ("dear", "part", "cheap"):
        parts = flow.parts(planned.ref(address(planned, arm), arm))
        assert counts(made, arm)["packed"] <= parts[0].count.mid * 1.05 < counts(made, arm)["packed"] + 1, arm
    assert estimate_steps(flow, planned.ref("train/s", "five-steps")).mid == 5
    assert estimate_steps(flow, planned.ref("train/s", "long")) is None
    made.make(address(made, "long"), "long")
    exact = Flow(made.plan, made.store)
    stage_of = made.ref("train/s", "as-many-steps")
    assert estimate_steps(exact, stage_of).mid == 3 * math.ceil(counts(made)["rows"] / 4)
    assert estimate_tokens(exact, stage_of) is None


@pytest.mark.parametrize(
    ("fields", "place", "problem"),
    [
        (
            {"examples": {"same_as": "base"}, "dollars": {"same_as": "base"}},
            "dollars",
            "state the size of the data twice",
        ),
        ({"data": {"d": 1}, "dataset": None, "take": 5, "examples": {"same_as": "base"}}, "examples", "twice"),
        (
            {"data": {"d": 1}, "dataset": None, "shares": "tokens", "examples": {"same_as": "base"}},
            "shares",
            "`examples` gives a number of examples; remove `shares: tokens`",
        ),
        ({"steps": 5}, "steps", "a stage has either `epochs` or `steps`, not both"),
        ({"epochs": None, "steps": 5, "tokens": 5}, "steps", "either `tokens` or `steps`"),
        ({"repeat": True}, "repeat", "`repeat` is of a mixture"),
        ({"examples": {"same_as": "none"}}, "examples", "there is no arm `none` to take the examples of"),
        ({"examples": {"same_as": "arm"}}, "examples", "stages take the examples of one another: arm: s -> arm: s"),
        ({"dollars": {"same_as": "base"}}, "dollars", "none of the answers of stage `s` has a price"),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused_at_its_place(
    tmp_path: Path, fields: dict[str, Any], place: str, problem: str
) -> None:
    with pytest.raises(SpecErrors) as caught:
        Made(tmp_path, ablations={"arm": stage(**fields)})
    assert problem in str(caught.value)
    text = (tmp_path / "spec.yaml").read_text()
    where = [one for one in caught.value.problems if problem in one.message]
    assert where and text[: text.index(f'"{place}"', text.index("ablations"))].count("\n") + 1 == where[0].mark.line
