"""A layered drawing of a DAG, after Sugiyama, Tagawa and Toda (1981): columns are given, rows are found.

An edge that spans columns passes a lane in each column between, so that it never runs under a box. All edges out of one
box share their lanes: they leave as one line and part at the last common lane, which keeps a shared node with many
users readable. Rows are ordered by barycentre sweeps, and the ordering with the fewest crossings is kept. Heights are
then a least-squares fit: each box is as near to the mean of its neighbours as order and spacing allow.

Every collection is a list in a fixed order, sorts are stable, and no set is iterated: equal input gives equal output.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LANE = 8.0  # height of a lane
GAP = 14.0  # between boxes of a column
SWEEPS = 12


@dataclass(slots=True, eq=False)
class Item:
    """A box, or a lane that edges pass. `y` is the height of its middle."""

    column: int
    height: float
    is_lane: bool = False
    y: float = 0.0
    before: list[Item] = field(default_factory=list)
    after: list[Item] = field(default_factory=list)


def layout(boxes: Sequence[Item], edges: Iterable[tuple[int, int]]) -> dict[tuple[int, int], list[Item]]:
    """Set the `y` of each box; return for each edge the items that it passes, its two boxes included.

    boxes: columns count from 0; ties between rows are settled by the order of this list
    edges: (from, to), places in `boxes`; each leads to a later column
    """
    columns: list[list[Item]] = [[] for _ in range(1 + max(box.column for box in boxes))]
    for box in boxes:
        columns[box.column].append(box)
    paths = {(a, b): [boxes[a], boxes[b]] for a, b in edges}
    lanes: dict[tuple[int, int], Item] = {}
    for a, b in paths:
        path = [boxes[a]]
        for column in range(boxes[a].column + 1, boxes[b].column):
            if (a, column) not in lanes:
                lanes[a, column] = Item(column=column, height=LANE, is_lane=True)
                columns[column].append(lanes[a, column])
                _join(path[-1], lanes[a, column])
            path.append(lanes[a, column])
        _join(path[-1], boxes[b])
        paths[a, b] = [*path, boxes[b]]
    _set_heights(_order_rows(columns))
    return paths


def _join(a: Item, b: Item) -> None:
    a.after.append(b)
    b.before.append(a)


def _order_rows(columns: list[list[Item]]) -> list[list[Item]]:
    """Return the columns with their items in the order of fewest crossings that the sweeps found."""
    best, fewest = columns, _count_crossings(columns)
    for sweep in range(SWEEPS):
        columns = [list(column) for column in columns]
        if sweep % 2 == 0:
            for left, column in pairwise(columns):
                _sort_column(column, left, lambda item: item.before)
        else:
            for column, right in reversed(list(pairwise(columns))):
                _sort_column(column, right, lambda item: item.after)
        crossings = _count_crossings(columns)
        if crossings < fewest:
            best, fewest = columns, crossings
    return best


def _sort_column(column: list[Item], fixed: list[Item], neighbours: Callable[[Item], list[Item]]) -> None:
    """Order a column by the mean place of each item's neighbours in the fixed column.

    Items without neighbours keep their places.
    """
    place = {id(item): index for index, item in enumerate(fixed)}
    joined = [item for item in column if neighbours(item)]
    mean = {id(item): sum(place[id(near)] for near in neighbours(item)) / len(neighbours(item)) for item in joined}
    in_order = iter(sorted(joined, key=lambda item: mean[id(item)]))
    column[:] = [next(in_order) if neighbours(item) else item for item in column]


def _count_crossings(columns: list[list[Item]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        place = {id(item): index for index, item in enumerate(right)}
        seen: list[int] = []
        for item in left:
            ends = sorted(place[id(near)] for near in item.after)
            total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _set_heights(columns: list[list[Item]]) -> None:
    """Set the `y` of each item in sweeps: the first use the neighbours on one side of a column, the last four both."""
    for column in columns:
        _fit_heights(column, [0.0] * len(column), [1.0] * len(column))
    for sweep in range(2 * SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            targets, weights = [], []
            for item in column:
                side = item.before if sweep % 2 == 0 else item.after
                near = side if side and sweep < 2 * SWEEPS - 4 else item.before + item.after
                # lanes weigh more, since a line that bends at a lane is more conspicuous than a box off its mean
                strength = [4.0 if item.is_lane or other.is_lane else 1.0 for other in near]
                total = sum(strength)
                mean = sum(s * other.y for s, other in zip(strength, near, strict=True)) / total if near else item.y
                targets.append(mean)
                weights.append(max(total, 0.1))
            _fit_heights(column, targets, weights)
    top = min(item.y - item.height / 2 for column in columns for item in column)
    for column in columns:
        for item in column:
            item.y -= top


def _fit_heights(column: list[Item], targets: list[float], weights: list[float]) -> None:
    """Set each `y` as near to its target as order and spacing allow: least squares, by pooling adjacent violators."""
    offsets, offset = [], 0.0
    for index, item in enumerate(column):
        if index:
            offset += (column[index - 1].height + item.height) / 2 + GAP
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for target, weight, offset in zip(targets, weights, offsets, strict=True):
        mean, count = target - offset, 1
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((mean, weight, count))
    rows = [mean for mean, _, count in pools for _ in range(count)]
    for item, row, offset in zip(column, rows, offsets, strict=True):
        item.y = row + offset
