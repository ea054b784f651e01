"""Estimates before there are any examples, by small simulations: of the number of examples per row, and of the share of
responses that are neither too short nor too long.

Lengths are log-normal with the given mean and the spread of real ones: 284 rows of OpenOrca, system message, question
and answer together, have a coefficient of variation of 0.69. The simulation is deterministic: it packs the quantiles
of the distribution in a fixed order.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

SIGMA = 0.62  # of the logarithm of a length; sqrt(ln(1 + 0.69²))
_EXAMPLES = 2000


class Packed(NamedTuple):
    per_row: float  # mean examples in a row
    fill: float  # share of a row's slots that hold tokens


def keep(means: Mapping[str, float], bounds: Mapping[str, tuple[int, float]]) -> tuple[float, float]:
    """Return the share of responses whose lengths are within bounds, and their mean length relative to that of all.

    means: the mean tokens of each part of a response. All parts of one response are longer or shorter together.
    bounds: part -> its smallest and largest number of tokens
    """
    kept = [
        factor
        for factor in _quantiles()
        if all(least <= means[part] * factor <= most for part, (least, most) in bounds.items())
    ]
    if not kept:
        return 1 / _EXAMPLES, 1.0  # not 0, which would make a division by it fail
    return len(kept) / _EXAMPLES, sum(kept) / len(kept)


def cut(mean: float, most: float) -> float:
    """Return the mean length of texts of `mean` tokens on average once longer ones are cut to `most` tokens."""
    shorter = bisect_right(_quantiles(), most, key=lambda factor: mean * factor)
    left = (_EXAMPLES - shorter) * most if shorter < _EXAMPLES else 0.0
    return (mean * _sums()[shorter] + left) / _EXAMPLES


def pack(mean: float, max_length: int, packing: str) -> Packed:
    """Pack examples of `mean` tokens on average into rows of `max_length` slots; `packing` is that of the spec."""
    return _pack(_round(mean), max_length, packing)


def fit(mean: float, max_length: int) -> float:
    """Return the share of examples of `mean` tokens on average that are not longer than `max_length`."""
    return max(_count_fitting(_round(mean), max_length), 1) / _EXAMPLES  # not 0, which would make a division by it fail


def _round(mean: float) -> float:
    """Return a mean to three digits, so that means that are nearly equal are simulated once."""
    return float(f"{mean:.3g}")


def _count_fitting(mean: float, max_length: int) -> int:
    """Return how many of the simulated lengths are at most `max_length`."""
    return bisect_right(_quantiles(), max_length, key=lambda part: round(mean * part))


@functools.cache
def _quantiles() -> list[float]:
    normal = NormalDist(-SIGMA * SIGMA / 2, SIGMA)
    return [math.exp(normal.inv_cdf((index + 0.5) / _EXAMPLES)) for index in range(_EXAMPLES)]


@functools.cache
def _sums() -> list[float]:
    """Return the sum of the first n quantiles, for each n from 0."""
    return [0.0, *itertools.accumulate(_quantiles())]


@functools.lru_cache(maxsize=4096)
def _pack(mean: float, max_length: int, packing: str) -> Packed:
    lengths = [round(mean * part) or 1 for part in _quantiles()[: _count_fitting(mean, max_length)]]
    if not lengths:
        return Packed(1.0, 1.0)
    if packing == "none":
        rows = len(lengths)
    else:
        rows = _best_fit(lengths, max_length) if packing == "best-fit" else _next_fit(lengths, max_length)
    return Packed(len(lengths) / rows, sum(lengths) / (rows * max_length))


def _next_fit(lengths: list[int], capacity: int) -> int:
    rows, room = 0, 0
    for place in _shuffle(len(lengths)):
        size = lengths[place]
        if size > room:
            rows, room = rows + 1, capacity
        room -= size
    return rows


@functools.lru_cache(maxsize=256)
def _shuffle(count: int) -> list[int]:
    return random.Random(0).sample(range(count), count)


def _best_fit(lengths: list[int], capacity: int) -> int:
    rows, rooms = 0, list[int]()  # free slots of the rows that have any, ascending
    for size in reversed(lengths):  # the longest first
        found = bisect_left(rooms, size)
        if found == len(rooms):
            rows, room = rows + 1, capacity
        else:
            room = rooms.pop(found)
        if room > size:
            insort(rooms, room - size)
    return rows
