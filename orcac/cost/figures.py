"""Figures with their uncertainty, and their form as text.

A `Range` is a middle value and, for each unknown that it depends on, the logarithms of two ratios: the value with that
unknown at its low end, and at its high end, to the middle value. So uncertainty follows the arithmetic. If two figures
depend on one unknown, its effects add up, even over a thousand nodes, since they are wrong together. The effects of
different unknowns are combined in quadrature, as if they were independent. A figure without a spread is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Range:
    """A middle value, with its spread for each unknown that it depends on."""

    mid: float
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # unknown -> ln(value / mid) at its ends

    @property
    def low(self) -> float:
        """Return the low end of the range."""
        return self.mid * math.exp(-math.hypot(*(max(-a, -b, 0.0) for a, b in self.spread.values())))

    @property
    def high(self) -> float:
        """Return the high end of the range."""
        return self.mid * math.exp(math.hypot(*(max(a, b, 0.0) for a, b in self.spread.values())))

    @property
    def is_exact(self) -> bool:
        """Return whether the figure depends on no unknown."""
        return not self.spread

    def __add__(self, other: Range) -> Range:
        return sum_ranges((self, other))

    def __mul__(self, other: Range | float) -> Range:
        if not isinstance(other, Range):
            return Range(self.mid * other, self.spread if other else {})
        return _range(self.mid * other.mid, _combined(self.spread, other.spread, 1))

    __rmul__ = __mul__

    def __truediv__(self, other: Range | float) -> Range:
        if not isinstance(other, Range):
            return Range(self.mid / other, self.spread)
        return _range(self.mid / other.mid, _combined(self.spread, other.spread, -1))

    def propagate(self, function: Callable[[float], float]) -> Range:
        """Return `function` of this figure; its spread is scaled by the slope, on logarithms, at the middle."""
        mid, step = function(self.mid), 1.1
        if not self.spread:
            return Range(mid)
        slope = math.log(function(self.mid * step) / function(self.mid / step)) / (2 * math.log(step))
        return _range(mid, {name: (a * slope, b * slope) for name, (a, b) in self.spread.items()})

    def capped_at(self, most: float) -> Range:
        """Return this figure, given that it cannot exceed `most`."""
        room = max(0.0, math.log(most / self.mid)) if self.mid else 0.0
        spread = {name: (min(low, room), min(high, room)) for name, (low, high) in self.spread.items()}
        return Range(min(self.mid, most), spread)

    def as_json(self) -> dict[str, float]:
        """Return `low`, `mid` and `high` with four significant digits."""
        return {name: float(f"{getattr(self, name):.4g}") for name in ("low", "mid", "high")}


ZERO = Range(0.0)


def between(low: float, mid: float, high: float, name: str) -> Range:
    """Return a figure that depends on one unknown, `name`. Needs 0 < low <= mid <= high."""
    assert 0 < low <= mid <= high
    return Range(mid, {name: (math.log(low / mid), math.log(high / mid))} if low < high else {})


def within_factor(mid: float, factor: float, name: str) -> Range:
    """Return a figure that lies between mid / factor and mid * factor and depends on one unknown, `name`."""
    return between(mid / factor, mid, mid * factor, name)


def sum_ranges(figures: Iterable[Range]) -> Range:
    """Return the sum of the figures."""
    mid, ends = 0.0, dict[str, list[float]]()
    for figure in figures:
        mid += figure.mid
        for name, (low, high) in figure.spread.items():
            end = ends.setdefault(name, [0.0, 0.0])
            end[0] += figure.mid * math.expm1(low)
            end[1] += figure.mid * math.expm1(high)
    return _range(
        mid, {name: (math.log1p(a / mid), math.log1p(b / mid)) for name, (a, b) in ends.items()} if mid else {}
    )


def _range(mid: float, spread: Mapping[str, tuple[float, float]]) -> Range:
    return Range(mid, spread if mid else {})


def _combined(
    one: Mapping[str, tuple[float, float]], other: Mapping[str, tuple[float, float]], sign: int
) -> Mapping[str, tuple[float, float]]:
    """Return the spread of a product (sign 1) or a quotient (sign -1)."""
    if not other:
        return one
    combined = dict(one)
    for name, (low, high) in other.items():
        a, b = combined.get(name, (0.0, 0.0))
        combined[name] = (a + sign * low, b + sign * high)
    return combined


# --- text ------------------------------------------------------------------------------------------------------


def format_range(figure: Range, show: Callable[[float], str]) -> str:
    """Return a figure as text, `5,100 USD (4,000 to 6,500)`; without its ends if `show` gives both the same text."""
    low, mid, high = show(figure.low), show(figure.mid), show(figure.high)
    if low == high:
        return mid
    unit = " " + mid.rpartition(" ")[2]
    if low.endswith(unit) and high.endswith(unit):
        low, high = low.removesuffix(unit), high.removesuffix(unit)
    return f"{mid} ({low} to {high})"
