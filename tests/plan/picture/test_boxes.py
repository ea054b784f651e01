"""Tests of orcac/plan/picture/boxes.py: sharing, stacks, captions and lines."""

from __future__ import annotations

import pytest
from study_plans import add_node, make_study, scatter_nodes

from orcac.plan.picture.boxes import BOXES, MAX_WIDTH, MIN_WIDTH, ROWS, Box, PlanView, find_edges, make_boxes
from orcac.plan.plan import Experiment, Plan


def boxes_of(plan: Plan, states: dict[str, str] | None = None) -> list[Box]:
    return make_boxes(PlanView.of(plan, states or {}))


def test_a_small_plan_has_a_box_for_each_node_in_the_order_of_sharing() -> None:
    boxes = boxes_of(make_study(4, between=2))
    assert all(len(box.refs) == 1 for box in boxes)
    order = [("all", "some", "one").index(box.sharing) for box in boxes]
    assert order == sorted(order) and set(order) == {0, 1, 2}


@pytest.mark.parametrize("arms, between", [(60, 1), (200, 50), (1000, 300), (400, 399)])
def test_stacks_bring_a_plan_down_to_the_limits_and_hold_every_node_once(arms: int, between: int) -> None:
    plan = make_study(arms, between=between)
    boxes = boxes_of(plan)
    assert sorted(ref for box in boxes for ref in box.refs) == sorted(plan.nodes)
    assert len(boxes) <= BOXES
    columns = [box.item.column for box in boxes]
    assert max(columns.count(column) for column in set(columns)) <= ROWS
    assert all(MIN_WIDTH <= box.width <= MAX_WIDTH for box in boxes)


@pytest.mark.parametrize(
    ("states", "state", "caption"),
    [
        ([], "to do", "one an arm"),
        (["done"] * 60, "done", "one an arm"),
        (["done", "done"], "partial", "one an arm · 2 done"),
        (["done", "making"], "making", "one an arm · 1 done"),
        (["failed", "making"], "failed", "one an arm"),
    ],
)
def test_a_stack_shows_the_state_that_asks_most_for_attention(states: list[str], state: str, caption: str) -> None:
    plan = make_study(60)
    refs = [ref for ref, node in plan.nodes.items() if node.label.endswith(": easy")]
    boxes = boxes_of(plan, dict(zip(refs, states, strict=False)))
    (stack,) = [box for box in boxes if box.refs == refs]
    assert (stack.state, stack.caption, stack.corner) == (state, caption, "× 60")


@pytest.mark.parametrize("seed", range(5))
def test_no_line_is_implied_by_others_and_every_need_is(seed: int) -> None:
    plan = scatter_nodes(seed)
    boxes = boxes_of(plan)
    edges = find_edges(plan, boxes)
    above: dict[int, set[int]] = {place: set() for place in range(len(boxes))}
    for place in sorted(above, key=lambda place: boxes[place].item.column):
        starts = [start for start, end in edges if end == place]
        assert all(start not in above[other] for start in starts for other in starts)
        above[place] = set(starts).union(*(above[start] for start in starts))
    places = {box.refs[0]: place for place, box in enumerate(boxes)}
    for ref, node in plan.nodes.items():
        assert {places[need] for need in node.needs} <= above[places[ref]]


def test_the_replicates_of_a_node_are_one_box() -> None:
    plan = make_study(2)
    experiment = plan.experiments["study"]
    last = next(ref for ref, node in plan.nodes.items() if node.label == "base: last")
    others = [add_node(plan, "train", f"base: last #{run}", *plan.nodes[last].needs) for run in (1, 2)]
    experiment.arms["base"] += others
    experiment.addresses["base"] = {
        f"train/last{mark}": ref for mark, ref in zip(("", "#1", "#2"), [last, *others], strict=True)
    }
    (box,) = [box for box in boxes_of(plan) if last in box.refs]
    assert (box.refs, box.corner, box.name, box.caption) == ([last, *others], "× 3", "last", "base")


def test_a_node_that_no_arm_needs_is_drawn() -> None:
    plan = Plan()
    ref = add_node(plan, "sample", "alone")
    plan.experiments["s"] = Experiment(
        name="s", spec="s.yaml", report=ref, targets=[ref], arms={"base": []}, addresses={}
    )
    (box,) = boxes_of(plan)
    assert (box.sharing, box.name) == ("one", "alone")
