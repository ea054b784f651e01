"""Packing: the assignment of examples to rows. Pure functions over lengths, so that the number of rows, and with it
the number of steps, is known before anything is trained.

- `best_fit_decreasing`: the longest example first, each into the row with the least room that still holds it
  (Johnson, 1973: at most 11/9 of the fewest rows, plus a constant). Rooms are whole numbers up to the capacity, so rows
  are grouped by room and examples of equal length are placed together: about n steps of array work, not n searches.
- `shuffle_and_fill`: next-fit in random order, the paper's method (§4.1): a new row is opened whenever the next example
  does not fit.

- `fill_in_order`: next-fit in a given order (order.py).

An example is never cut. Unless they are filled in order, the order of the rows has no meaning: training shuffles them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Lengths = Sequence[int] | npt.NDArray[np.integer]


def best_fit_decreasing(lengths: Lengths, capacity: int) -> list[npt.NDArray[np.int32]]:
    """Return rows as arrays of indices into `lengths`, longest examples first. Each length is in 1..capacity."""
    sizes = np.asarray(lengths, dtype=np.int64)
    if not len(sizes):
        return []
    assert sizes.min() >= 1 and sizes.max() <= capacity
    order = np.argsort(-sizes, kind="stable").astype(np.int32)
    distinct, counts = np.unique(sizes, return_counts=True)
    placed: list[npt.NDArray[np.int32]] = []  # the row of each example, in the order of `order`
    rows_by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms: list[int] = []  # the distinct rooms of the open rows, ascending
    rows = 0
    for size, left in zip(distinct[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while left:
            found = bisect_left(rooms, size)
            if found == len(rooms):
                opened = -(-left // (capacity // size))
                fresh, room = list(range(rows, rows + opened)), capacity
                rows += opened
            else:
                room = rooms[found]
                fresh = rows_by_room[room]
            # A row that has taken an example has less room than the others that fit, so best-fit fills it before it
            # touches the next. So every used row takes `each` examples, except the last, which takes the rest.
            each = room // size
            full, rest = divmod(min(left, each * len(fresh)), each)
            used = fresh[: full + (rest > 0)]
            placed.append(np.repeat(np.array(used, dtype=np.int32), each)[: full * each + rest])
            left -= full * each + rest
            if found < len(rooms):
                del fresh[: len(used)]
                if not fresh:
                    del rooms[found]
            for group, room_left in ((used[:full], room - each * size), (used[full:], room - rest * size)):
                if group and room_left:
                    if not rows_by_room[room_left]:
                        insort(rooms, room_left)
                    rows_by_room[room_left].extend(group)
    row_of = np.concatenate(placed)
    placed.clear()
    ends = np.cumsum(np.bincount(row_of, minlength=rows)).tolist()
    members = order[np.argsort(row_of, kind="stable")]
    return [members[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def shuffle_and_fill(lengths: Lengths, capacity: int, rng: np.random.Generator) -> list[list[int]]:
    """Return rows as lists of indices into `lengths`, in random order. Each length is in 1..capacity."""
    return fill_in_order(lengths, capacity, rng.permutation(len(lengths)))


def fill_in_order(lengths: Lengths, capacity: int, order: npt.NDArray[np.int64]) -> list[list[int]]:
    """Return rows as lists of indices into `lengths`, in the given order. Each length is in 1..capacity."""
    sizes = np.asarray(lengths, dtype=np.int64).tolist()
    rows: list[list[int]] = []
    room = 0
    for index in order.tolist():
        assert 1 <= sizes[index] <= capacity
        if sizes[index] > room:
            rows.append([])
            room = capacity
        rows[-1].append(index)
        room -= sizes[index]
    return rows
