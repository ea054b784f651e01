"""Tests of orcac/plan/plan.py, orcac/plan/file.py, orcac/plan/sharing.py and orcac/plan/effect.py: the plan, its file,
and its arms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orcac.errors import InputError
from orcac.plan.effect import compute_effect
from orcac.plan.file import find_ref, parse_plan_data, read_plan_text
from orcac.plan.lower import lower
from orcac.plan.plan import BASELINES, Plan
from orcac.plan.sharing import describe_arms, map_arms_to_nodes, map_nodes_to_arms, strip_arm
from orcac.spec.load import load
from orcac.store.store import Store

PUZZLES = {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 100}
SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "study",
    "queries": {"q": PUZZLES},
    "teachers": {"t": {"model": "expert", "endpoint": {"kind": "solver"}}},
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}, "x": {"dataset": "d", "epochs": 2}},
    "curriculum": ["s", "x"],
    "benchmarks": {"b": PUZZLES | {"take": 10}},
    "baselines": ["t"],
    "ablations": {"zebra": {"seed": 5}, "ant": {"curriculum": ["x"]}, "same": {"about": "again"}},
}


def compiled(folder: Path, *specs: dict[str, Any]) -> Plan:
    plan = Plan()
    for spec in specs:
        path = folder / f"{spec['name']}.yaml"
        path.write_text(json.dumps(spec))
        lower(plan, load(path))
    return plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return compiled(tmp_path, SPEC)


def test_equal_nodes_of_arms_and_specs_are_one(tmp_path: Path, plan: Plan) -> None:
    study = plan.experiments["study"]
    assert study.addresses["same"].items() <= study.addresses["base"].items()
    own = {ref.partition("/")[0] for ref in set(study.arms["ant"]) - set(study.arms["base"])}
    assert own == {"train", "eval", "score"}
    both = compiled(tmp_path, SPEC, SPEC | {"name": "other", "ablations": {}})
    assert set(both.nodes) - set(plan.nodes) == {both.experiments["other"].report}


def test_two_specs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are both named `study`") as caught:
        compiled(tmp_path, SPEC, SPEC)
    assert caught.value.fix


def test_a_closure_lists_inputs_before_the_nodes_that_need_them(plan: Plan) -> None:
    (experiment,) = plan.experiments.values()
    refs = plan.closure([experiment.report])
    assert set(refs) == set(plan.nodes)
    places = {ref: place for place, ref in enumerate(refs)}
    assert all(places[need] < places[ref] for ref in refs for need in plan.nodes[ref].needs)


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_plan_file_reads_back_and_is_written_only_if_it_changes(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "build" / "plan.json"
    assert plan.write(path)
    stamp = path.stat().st_mtime_ns
    assert not plan.write(path)
    assert path.stat().st_mtime_ns == stamp
    again = Plan.read(path)
    assert again.to_json() == plan.to_json()
    assert list(again.experiments["study"].arms) == ["base", "zebra", "ant", "same", BASELINES]
    trains = Plan.from_data(parse_plan_data(read_plan_text(path), path), path, beginning="train/")
    assert trains.nodes.keys() == {ref for ref in plan.nodes if ref.startswith("train/")}


def test_a_plan_whose_ids_another_orcac_computed_is_refused(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json().replace('"count":100', '"count":99', 1))
    with pytest.raises(InputError, match="another version of orcac computed the ids") as caught:
        Plan.read(path)
    assert caught.value.fix == "compile the spec again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no plan"),
        ("{", "the plan is damaged"),
        ("[" * 100_000, "the plan is damaged"),
        ("[]", "made by another version of orcac"),
        ('{"format": 1}', "made by another version of orcac"),
    ],
)
def test_a_file_without_a_plan_is_an_error_with_a_fix(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        parse_plan_data(read_plan_text(path), path)
    assert caught.value.fix


@pytest.mark.parametrize("text", ['{"format": 2}', '{"format": 2, "order": ["train/1"], "nodes": {}}'])
def test_a_plan_that_lacks_a_part_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match="not a plan that this orcac can read"):
        Plan.read(tmp_path / "plan.json")


REFS = ["train/0123", "train/0145", "eval/0123", "eval/77"]


@pytest.mark.parametrize(
    ("text", "ref"),
    [("eval/77", "eval/77"), ("7", "eval/77"), ("train/014", "train/0145"), ("eval/0", "eval/0123")],
)
def test_a_beginning_of_a_name_or_of_an_id_finds_the_node(text: str, ref: str) -> None:
    assert find_ref(REFS, text) == ref
    assert find_ref([*REFS, f"{ref}5"], ref) == ref, "a full match wins"


@pytest.mark.parametrize(("text", "message"), [("0123", "2 nodes begin so"), ("x", "no such node")])
def test_a_name_of_several_nodes_or_of_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_ref(REFS, text)
    assert caught.value.fix


# --- arms and changes -----------------------------------------------------------------------------------------------


def test_users_are_arms_and_baselines_where_no_arm_needs_a_node(plan: Plan) -> None:
    users = plan.map_nodes_to_users()
    (experiment,) = plan.experiments.values()
    base, baselines = experiment.addresses["base"], experiment.addresses[BASELINES]
    assert users[experiment.report] == []
    assert users[base["train/x"]] == ["study:base", "study:same"]
    assert users[baselines["baseline/t/b"]] == [f"study:{BASELINES}"]
    assert BASELINES not in str(users[baselines["items/b"]])


def test_arms_are_named_with_their_spec_if_there_are_several(tmp_path: Path, plan: Plan) -> None:
    (experiment,) = plan.experiments.values()
    arms = map_nodes_to_arms(plan)
    assert arms[experiment.report] == ("base", "zebra", "ant", "same")
    assert arms[experiment.addresses["ant"]["train/x"]] == ("ant",)
    assert list(map_arms_to_nodes(plan)) == ["base", "zebra", "ant", "same"]
    both = compiled(tmp_path, SPEC, SPEC | {"name": "other", "ablations": {}})
    assert list(map_arms_to_nodes(both))[-1] == "other:base"
    assert map_nodes_to_arms(both)[both.experiments["other"].report] == ("other:base",)


@pytest.mark.parametrize(
    ("label", "arms", "stripped"),
    [
        ("base: first", ("base",), "first"),
        ("base: first", ("ant", "study:base"), "first"),
        ("base: first", ("ant",), "base: first"),
        ("few", ("few",), "few"),
    ],
)
def test_a_label_loses_the_arm_that_is_shown_beside_it(label: str, arms: tuple[str, ...], stripped: str) -> None:
    assert strip_arm(label, arms) == stripped


@pytest.mark.parametrize(
    ("arms", "total", "phrase"),
    [
        (["ant"], 1, "ant"),
        (["ant", "base"], 2, "both arms"),
        (["a"] * 3, 3, "all 3 arms"),
        (["a"] * 1000, 2000, "1,000 of 2,000 arms"),
    ],
)
def test_a_phrase_for_some_of_the_arms(arms: list[str], total: int, phrase: str) -> None:
    assert describe_arms(arms, total) == phrase


def test_an_effect_parts_the_nodes_of_two_arms(tmp_path: Path, plan: Plan) -> None:
    (experiment,) = plan.experiments.values()
    old, new = experiment.arms["base"], experiment.arms["ant"]
    store = Store(tmp_path / "store")
    stored = experiment.addresses["ant"]["train/x"]
    store.folder(stored).mkdir(parents=True)
    store.marker(stored).write_text("{}")
    effect = compute_effect(plan, old, new, store)
    assert set(effect.reused) == set(old) & set(new)
    assert effect.stored == [stored]
    assert effect.remade == [experiment.addresses["ant"][name] for name in ("eval/b", "score/b")]
    assert set(effect.dropped) == set(old) - set(new)
    assert not effect.is_empty
    assert compute_effect(plan, old, old, store).is_empty
