"""The report's pictures as inline SVG: the strips of a forest plot, their axis, and training loss.

They take the page's colours and font through CSS. A row is known by its number and by its dashes, never by its colour
alone. The same numbers give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from orcac.report.results import Curve

__all__ = ["COLOURS", "Line", "Scale", "draw_axis", "draw_losses", "draw_strip", "fit_scale", "list_lines"]

COLOURS = 8  # the page defines --row-0 to --row-7; further rows reuse them with other dashes
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4")
_WIDTH, _HEIGHT = 760, 340  # of the losses
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 64, 12, 40
_LABEL = 12  # the height of a line's label


@dataclass(frozen=True, slots=True)
class Scale:
    """The values at the ends of an axis, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return the place of a value in percent of the axis, within it."""
        return round(min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0), 2)


def fit_scale(values: Iterable[float], *, most: int = 5) -> Scale:
    """Return a scale around values, with `most` ticks at most, at round numbers."""
    values = list(values) or [0.0, 1.0]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.01
    low, high = low - room, high + room
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    ticks = tuple(round(step * n, 10) for n in range(first, math.floor(high / step + 1e-9) + 1))
    return Scale(low, high, ticks)


def draw_strip(
    scale: Scale, ends: tuple[float, float], point: float | None, *, filled: bool, lines: Sequence[float], title: str
) -> Markup:
    """Return the strip of one row: its interval, its point, and vertical lines. A point off the scale is an arrow."""
    parts = [
        Markup('<line class="rule" x1="{0}%" x2="{0}%" y1="0" y2="100%"/>').format(scale.place(value))
        for value in lines
    ]
    low, high = (scale.place(end) for end in ends)
    parts.append(Markup('<line class="bar" x1="{}%" x2="{}%" y1="50%" y2="50%"/>').format(low, high))
    if point is not None:
        if scale.low <= point <= scale.high:
            kind = "dot" if filled else "dot open"
            parts.append(Markup('<circle class="{}" cx="{}%" cy="50%" r="5"/>').format(kind, scale.place(point)))
        else:
            end, arrow = ("end", "▸") if point > scale.high else ("start", "◂")
            mark = Markup('<text class="arrow" x="{}%" y="50%" dy="0.35em" text-anchor="{}">{}</text>')
            parts.append(mark.format(scale.place(point), end, arrow))
    return Markup('<svg class="strip" role="img" aria-label="{}">{}</svg>').format(title, Markup("").join(parts))


def draw_axis(scale: Scale, labels: Sequence[str]) -> Markup:
    """Return the axis above the strips, with a label for each tick."""
    parts = []
    for tick, label in zip(scale.ticks, labels, strict=True):
        place = scale.place(tick)
        anchor = "start" if place < 6 else "end" if place > 94 else "middle"
        parts.append(Markup('<text x="{}%" y="12" text-anchor="{}">{}</text>').format(place, anchor, label))
        parts.append(Markup('<line class="tick" x1="{0}%" x2="{0}%" y1="16" y2="20"/>').format(place))
    return Markup('<svg class="axis" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot: `number` from 0 gives its colour and dashes, and `label` is written at its end."""

    number: int
    label: str
    points: Sequence[tuple[int, float]]  # step, loss
    rings: Sequence[tuple[int, float]] = ()  # points that are marked


def list_lines(curves: Sequence[Curve], arms: Sequence[str]) -> list[Line]:
    """Return the training loss of each arm, with a ring at the first step of each later stage.

    Arms of equal losses share a line, with all their numbers.
    """
    numbers_of: dict[tuple[tuple[int, float], ...], list[int]] = {}
    rings = {}
    for number, arm in enumerate(arms):
        chain = [curve for curve in curves if curve.arm == arm and curve.steps]
        points = tuple(point for curve in chain for point in zip(curve.steps, curve.losses, strict=True))
        if points:
            numbers_of.setdefault(points, []).append(number)
            rings[points] = [(curve.steps[0], curve.losses[0]) for curve in chain[1:]]
    return [
        Line(numbers[0], ", ".join(str(number + 1) for number in numbers), points, rings[points])
        for points, numbers in numbers_of.items()
    ]


def draw_losses(lines: Sequence[Line], title: str, across_title: str) -> Markup:
    """Return losses by optimizer step as lines with their labels."""
    across = fit_scale([0.0, *(float(step) for line in lines for step, _ in line.points)], most=6)
    up = fit_scale([0.0, *(loss for line in lines for _, loss in line.points if math.isfinite(loss))], most=6)

    def place(step: float, loss: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * across.place(step) / 100
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * up.place(loss) / 100
        return f"{x:.1f},{y:.1f}"

    parts = [_draw_grid(across, up, across_title)]
    ends = []
    for line in lines:
        drawn = " ".join(place(step, loss) for step, loss in line.points if math.isfinite(loss))
        if not drawn:
            continue
        dashes = _DASHES[line.number // COLOURS % len(_DASHES)]
        style = f"--c:var(--row-{line.number % COLOURS})"
        parts.append(Markup('<polyline style="{}" stroke-dasharray="{}" points="{}"/>').format(style, dashes, drawn))
        for ring in line.rings:
            at = place(*ring).split(",")
            parts.append(Markup('<circle style="{}" cx="{}" cy="{}" r="4.5"/>').format(style, *at))
        x, y = map(float, drawn.rpartition(" ")[2].split(","))
        ends.append((y, x, line.label, style))
    heights = _spread([y for y, *_ in sorted(ends)])
    for (y, x, label, style), height in zip(sorted(ends), heights, strict=True):
        lead = Markup('<line class="lead" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x, y, _WIDTH - _RIGHT + 4, height)
        text = Markup('<text class="end" style="{}" x="{}" y="{}">{}</text>')
        parts += [lead, text.format(style, _WIDTH - _RIGHT + 7, round(height + 4, 1), label)]
    whole = max(_HEIGHT, math.ceil(max(heights, default=0)) + 10)
    frame = Markup('<svg class="losses" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(_WIDTH, whole, title, Markup("").join(parts))


def _spread(places: Sequence[float]) -> list[float]:
    """Return sorted heights moved apart, so that no label covers another, within the plot if they fit there."""
    spread, floor = [], float(_TOP)
    for place in places:
        spread.append(max(place, floor))
        floor = spread[-1] + _LABEL
    ceiling = float(max(_HEIGHT - _BOTTOM, _TOP + _LABEL * (len(places) - 1)))
    for number in reversed(range(len(spread))):
        spread[number] = min(spread[number], ceiling)
        ceiling = spread[number] - _LABEL
    return [round(place, 1) for place in spread]


def _draw_grid(across: Scale, up: Scale, across_title: str) -> Markup:
    """Return the axes of the losses, with their labels."""
    parts = []
    for tick in up.ticks:
        y = round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * up.place(tick) / 100, 1)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(_LEFT, _WIDTH - _RIGHT, y=y)
        )
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_LEFT - 8, y + 4, f"{tick:g}"))
    for tick in across.ticks:
        x = round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * across.place(tick) / 100, 1)
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, _HEIGHT - 22, f"{tick:,.0f}")
        )
    title = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>')
    parts.append(title.format((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, across_title))
    return Markup("").join(parts)
