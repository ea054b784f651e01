"""Tests of orcac/plan/picture/layout.py: rows, lanes and spacing."""

from __future__ import annotations

import random

import pytest

from orcac.plan.picture.layout import GAP, LANE, Item, layout


def make_boxes(*columns: int) -> list[Item]:
    return [Item(column=column, height=60) for column in columns]


def test_boxes_of_a_chain_are_in_one_row() -> None:
    boxes = make_boxes(0, 1, 2)
    layout(boxes, [(0, 1), (1, 2)])
    assert {box.y for box in boxes} == {30.0}


def test_an_edge_over_a_column_passes_a_lane_beside_its_boxes() -> None:
    boxes = make_boxes(0, 1, 2)
    paths = layout(boxes, [(0, 1), (1, 2), (0, 2)])
    first, lane, last = paths[0, 2]
    assert (first, last) == (boxes[0], boxes[2])
    assert lane.is_lane and lane.column == 1
    assert abs(lane.y - boxes[1].y) >= (60 + LANE) / 2 + GAP - 1e-9


def test_edges_out_of_one_box_share_their_lanes() -> None:
    paths = layout(make_boxes(0, 1, 2, 2), [(0, 1), (0, 2), (0, 3)])
    assert paths[0, 2][1] is paths[0, 3][1]


def test_edges_that_cross_in_the_given_order_are_uncrossed() -> None:
    boxes = make_boxes(0, 0, 1, 1)
    layout(boxes, [(0, 3), (1, 2)])
    assert (boxes[0].y < boxes[1].y) == (boxes[3].y < boxes[2].y)


@pytest.mark.parametrize("seed", range(5))
def test_items_of_a_column_keep_their_distance(seed: int) -> None:
    rng = random.Random(seed)
    boxes = make_boxes(*sorted(rng.randrange(5) for _ in range(25)))
    pairs = [(a, b) for a in range(25) for b in range(25) if boxes[a].column < boxes[b].column]
    paths = layout(boxes, rng.sample(pairs, 30))
    items = {id(item): item for path in paths.values() for item in path} | {id(box): box for box in boxes}
    for one in items.values():
        assert one.y - one.height / 2 >= -1e-9
        for other in items.values():
            if one is not other and one.column == other.column:
                assert abs(one.y - other.y) >= (one.height + other.height) / 2 + GAP - 1e-6
