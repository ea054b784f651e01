"""Figures with their uncertainty, and how people read them.

A `Range` is a middle value and, for each named thing that it rests on, what becomes of it when that thing is at its
low and at its high end (as logarithms of the ratio to the middle). So uncertainty follows the arithmetic: where two
figures rest on one unknown its effects add, also over a thousand nodes, since they are wrong together; what rests on
different unknowns is combined in quadrature, as if they were independent. A figure without a spread is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Range:
    mid: float
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # unknown -> ln(value / mid) at its ends

    @property
    def low(self) -> float:
        return self.mid * math.exp(-math.hypot(*(max(-a, -b, 0.0) for a, b in self.spread.values())))

    @property
    def high(self) -> float:
        return self.mid * math.exp(math.hypot(*(max(a, b, 0.0) for a, b in self.spread.values())))

    @property
    def is_exact(self) -> bool:
        return not self.spread

    def __add__(self, other: Range) -> Range:
        return total((self, other))

    def __mul__(self, other: Range | float) -> Range:
        if not isinstance(other, Range):
            return Range(self.mid * other, self.spread if other else {})
        return _of(self.mid * other.mid, _joined(self.spread, other.spread, 1))

    __rmul__ = __mul__

    def __truediv__(self, other: Range | float) -> Range:
        if not isinstance(other, Range):
            return Range(self.mid / other, self.spread)
        return _of(self.mid / other.mid, _joined(self.spread, other.spread, -1))

    def through(self, function: Callable[[float], float]) -> Range:
        """`function` of this figure, its spread carried by the slope (on logarithms) around the middle."""
        mid, step = function(self.mid), 1.1
        if not self.spread:
            return Range(mid)
        slope = math.log(function(self.mid * step) / function(self.mid / step)) / (2 * math.log(step))
        return _of(mid, {name: (a * slope, b * slope) for name, (a, b) in self.spread.items()})

    def at_most(self, most: float) -> Range:
        """This figure where it is known not to pass `most`."""
        room = max(0.0, math.log(most / self.mid)) if self.mid else 0.0
        spread = {name: (min(low, room), min(high, room)) for name, (low, high) in self.spread.items()}
        return Range(min(self.mid, most), spread)

    def as_json(self) -> dict[str, float]:
        return {name: float(f"{getattr(self, name):.4g}") for name in ("low", "mid", "high")}


NOTHING = Range(0.0)


def between(low: float, mid: float, high: float, name: str) -> Range:
    """A figure that is uncertain in one respect, `name`."""
    assert 0 < low <= mid <= high
    return Range(mid, {name: (math.log(low / mid), math.log(high / mid))} if low < high else {})


def times(mid: float, factor: float, name: str) -> Range:
    """`mid`, give or take a factor."""
    return between(mid / factor, mid, mid * factor, name)


def total(figures: Iterable[Range]) -> Range:
    mid, ends = 0.0, dict[str, list[float]]()
    for figure in figures:
        mid += figure.mid
        for name, (low, high) in figure.spread.items():
            end = ends.setdefault(name, [0.0, 0.0])
            end[0] += figure.mid * math.expm1(low)
            end[1] += figure.mid * math.expm1(high)
    return _of(mid, {name: (math.log1p(a / mid), math.log1p(b / mid)) for name, (a, b) in ends.items()} if mid else {})


def _of(mid: float, spread: Mapping[str, tuple[float, float]]) -> Range:
    return Range(mid, spread if mid else {})


def _joined(
    one: Mapping[str, tuple[float, float]], other: Mapping[str, tuple[float, float]], sign: int
) -> Mapping[str, tuple[float, float]]:
    if not other:
        return one
    joined = dict(one)
    for name, (low, high) in other.items():
        a, b = joined.get(name, (0.0, 0.0))
        joined[name] = (a + sign * low, b + sign * high)
    return joined


# --- for people ------------------------------------------------------------------------------------------------


def with_range(figure: Range, show: Callable[[float], str]) -> str:
    """`5,100 USD (4,000 to 6,500)`; the ends only where they are told apart."""
    low, mid, high = show(figure.low), show(figure.mid), show(figure.high)
    if low == high:
        return mid
    unit = " " + mid.rpartition(" ")[2]
    if low.endswith(unit) and high.endswith(unit):
        low, high = low.removesuffix(unit), high.removesuffix(unit)
    return f"{mid} ({low} to {high})"
