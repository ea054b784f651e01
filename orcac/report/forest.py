"""A forest plot of the differences between arms and base, as an SVG that is a file of its own.

A row is an arm, a panel is a benchmark of a study, and all panels have one scale, so that bars can be compared across
them. The verdict of a row decides its mark, by shape as well as by colour. A dashed bar has no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orcac.report.across import Figure
from orcac.report.plots import Scale, fit_scale
from orcac.report.wording import percent, points, points_interval
from orcac.stats.intervals import Interval
from orcac.svg import FONT, define_colours, draw_text, escape_text, open_svg, shorten_text, text_width

__all__ = ["draw_forest", "list_contrasts"]

_WIDTH, _MARGIN = 960, 28  # pixels, as are all lengths here
_NAMES, _AFTER_NAME = 240.0, 16.0  # the width of names at most, and the space after them
_PANEL, _BETWEEN = 190.0, 26.0  # the least width of a panel, and the space between two
_VALUE = 48.0  # the column of values at a panel's right
_STUDY, _HEAD, _ROW, _AXIS = 18.0, 42.0, 28.0, 40.0  # heights
_TOP, _BOTTOM = 86.0, 26.0

_COLOURS = (  # selector, property, light, dark
    (".page", "fill", "#ffffff", "#0d1117"),
    (".page", "stroke", "#d1d9e0", "#30363d"),
    ("text", "fill", "#1f2328", "#e6edf3"),
    (".muted", "fill", "#59636e", "#9198a1"),
    (".grid", "stroke", "#e6eaef", "#21262d"),
    (".zero", "stroke", "#818b98", "#7d8590"),
    (".bar,.mark", "stroke", "#59636e", "#9198a1"),
    (".full", "fill", "#59636e", "#9198a1"),
    (".open", "fill", "#ffffff", "#0d1117"),
    (".better", "stroke", "#1a7f37", "#3fb950"),
    (".better.full", "fill", "#1a7f37", "#3fb950"),
    (".worse", "stroke", "#cf222e", "#f85149"),
    (".worse.full", "fill", "#cf222e", "#f85149"),
)
_STYLE = """
text{font:12.5px FONT;font-variant-numeric:tabular-nums}.title{font-size:19px;font-weight:600}
.head{font-size:13.5px;font-weight:600}.small{font-size:11.5px}.end{text-anchor:end}.middle{text-anchor:middle}
.bar{stroke-width:2}.mark{stroke-width:2}.bar.without{stroke-dasharray:4 3}
""".replace("FONT", FONT)
_CIRCLE = '<circle class="{}" r="5"/>'
_DIAMOND = '<path class="{}" d="M0-6l6 6-6 6-6-6z"/>'
_SQUARE = '<path class="{}" d="M-4.5-4.5h9v9h-9z"/>'
_MARKS = {  # verdict -> the shape of its mark, the classes of mark and bar, and its words in the legend
    "better": (_CIRCLE, "full better", "better"),
    "worse": (_CIRCLE, "full worse", "worse"),
    "equal": (_SQUARE, "open", "equal within the margin"),
    "no difference shown": (_CIRCLE, "open", "no difference shown"),
    "scores higher": (_DIAMOND, "full", "scores higher or lower on these items"),
    "scores lower": (_DIAMOND, "full", "scores higher or lower on these items"),
    "withheld": (_CIRCLE, "open without", "no verdict"),
    "exploratory": (_CIRCLE, "open without", "no verdict"),
    "": (_CIRCLE, "open without", "no verdict"),  # of a task
}


@dataclass(frozen=True, slots=True)
class _Panel:
    """The differences on one benchmark of one study, or on one task of it, by arm."""

    study: str
    name: str
    note: str
    by_arm: dict[str, Figure]


def list_contrasts(figures: Iterable[Figure]) -> list[Figure]:
    """Return the differences that have an interval, in the same order."""
    return [
        one
        for one in figures
        if one.metric == "difference"
        and all(value is not None and math.isfinite(value) for value in (one.value, one.low, one.high))
    ]


def draw_forest(figures: Sequence[Figure], title: str) -> str:
    """Return the SVG of the differences among `figures`, of which at least one has an interval.

    Rows are the arms in the order of the figures: first those with a verdict in any panel, then the exploratory ones.
    Panels are in the order of the figures as well, in several bands if one has no room for all.
    """
    panels = _list_panels(figures)
    layout = _lay_out(panels)
    height = round(_TOP + layout.band_height * math.ceil(len(panels) / layout.in_band) + _BOTTOM)
    facts = "Differences to the base in points, with their 95 % intervals"
    title = shorten_text(title, _WIDTH - 2 * _MARGIN, 19)
    lines = [
        *open_svg(_WIDTH, height, title, f"{facts}. {_describe(panels)}"),
        f"<style>{_STYLE}{define_colours(_COLOURS)}</style>",
        f'<rect class="page" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="10"/>',
        draw_text(_MARGIN, 40, "title", title),
        draw_text(_MARGIN, 62, "muted", facts),
    ]
    for number, panel in enumerate(panels):
        band, place = divmod(number, layout.in_band)
        top = _TOP + layout.band_height * band
        if place == 0:
            lines += [_draw_name(arm, layout.names, top + layout.row(row) + 4) for row, arm in enumerate(layout.arms)]
        left = _MARGIN + layout.names + place * (layout.width + _BETWEEN)
        lines += [f'<g transform="translate({left:.1f} {top:.1f})">', *_draw_panel(panel, layout), "</g>"]
    lines.append(f'<g transform="translate({_MARGIN} {height - 22})">')
    return "\n".join([*lines, *_draw_legend(panels), "</g>", "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Layout:
    """The rows of all panels, their scale, and lengths in pixels."""

    arms: Sequence[str]
    scale: Scale  # in points
    names: float  # width of the column of names
    in_band: int  # panels beside each other
    width: float  # of a panel
    head: float  # height above a panel's rows

    @property
    def band_height(self) -> float:
        return self.row(len(self.arms) - 0.5) + _AXIS

    def row(self, number: float) -> float:
        """Return the middle of a row, from the top of its panel."""
        return self.head + _ROW * (number + 0.5)

    def place(self, share: float | None) -> float:
        """Return the place of a difference from the left of its panel."""
        return (self.width - _VALUE) * self.scale.place(100 * (share or 0.0)) / 100


def _lay_out(panels: Sequence[_Panel]) -> _Layout:
    drawn = [one for panel in panels for one in panel.by_arm.values()]
    tested = dict.fromkeys(one.arm for one in drawn if one.p_holm is not None)
    arms = list(tested | dict.fromkeys(one.arm for one in drawn))
    names = min(_NAMES, max(text_width(arm, 12.5) for arm in arms)) + _AFTER_NAME
    room = _WIDTH - 2 * _MARGIN - names
    most = int((room + _BETWEEN) // (_PANEL + _BETWEEN))
    in_band = math.ceil(len(panels) / math.ceil(len(panels) / most))  # as many in each band
    return _Layout(
        arms=arms,
        scale=fit_scale([0.0, *(100 * (end or 0.0) for one in drawn for end in (one.low, one.high))]),
        names=names,
        in_band=in_band,
        width=(room - _BETWEEN * (in_band - 1)) / in_band,
        head=_HEAD + _STUDY * (len({panel.study for panel in panels}) > 1),
    )


def _list_panels(figures: Sequence[Figure]) -> list[_Panel]:
    """Return the panels in the order of the figures; a panel's note has the score of the base."""
    found: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for one in list_contrasts(figures):
        found.setdefault((one.report, one.benchmark, one.task), {})[one.arm] = one
    panels = []
    for (report, benchmark, task), by_arm in found.items():
        first = next(iter(by_arm.values()))
        bases = (
            one
            for one in figures
            if (one.report, one.benchmark, one.task, one.metric) == (report, benchmark, task, "score")
            and one.replicate is None
            and one.arm not in by_arm
        )
        base = next(bases, None)
        note = "" if first.n is None else f"{first.n:,} items"
        note += f", {base.arm} {percent(base.value)} %" if base else ""
        panels.append(_Panel(first.study, f"{benchmark}: {task}" if task else benchmark, note, by_arm))
    return panels


def _draw_name(arm: str, width: float, y: float) -> str:
    """Return the name of a row. A shortened one has the whole name as a tooltip."""
    text = shorten_text(arm, width - _AFTER_NAME, 12.5)
    drawn = draw_text(_MARGIN, y, "", text)
    return drawn if text == arm else f"<g><title>{escape_text(arm)}</title>{drawn}</g>"


def _draw_panel(panel: _Panel, layout: _Layout) -> list[str]:
    """Return a panel with its head, its axis, and a row for each arm that it has."""
    head, width, bottom = layout.head, layout.width, layout.row(len(layout.arms) - 0.5)
    lines = [
        draw_text(0, head - 32, "head", shorten_text(panel.name, width, 13.5)),
        draw_text(0, head - 15, "small muted", shorten_text(panel.note, width, 11.5)),
    ]
    if head > _HEAD:
        lines.append(draw_text(0, 8, "small muted", shorten_text(panel.study, width, 11.5)))
    for tick in layout.scale.ticks:
        x, kind = layout.place(tick / 100), "grid" if tick else "zero"
        lines.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{head:.0f}" y2="{bottom:.0f}"/>')
        lines.append(draw_text(x, bottom + 17, "small muted middle", f"{tick:+g}".replace("-", "−") if tick else "0"))
    for row, arm in enumerate(layout.arms):
        if one := panel.by_arm.get(arm):
            lines += [
                f'<g transform="translate(0 {layout.row(row):.0f})">',
                f"<title>{escape_text(f'{arm} on {panel.name}: {_word(one)}')}</title>",
                *_draw_interval(one, layout),
                draw_text(width, 4, "end", points(one.value or 0.0)),
                "</g>",
            ]
    return lines


def _draw_interval(one: Figure, layout: _Layout) -> list[str]:
    """Return the interval and the point of a difference."""
    shape, kind, _ = _MARKS.get(one.verdict, _MARKS[""])
    low, high, point = layout.place(one.low), layout.place(one.high), layout.place(one.value)
    return [
        f'<line class="bar {kind}" x1="{low:.1f}" x2="{high:.1f}" y1="0" y2="0"/>',
        f'<g transform="translate({point:.1f} 0)">{shape.format(f"mark {kind}")}</g>',
    ]


def _word(one: Figure) -> str:
    """Return a difference in words: "−19.5 points (95 % −25.0 to −14.0), worse"."""
    assert one.value is not None and one.low is not None and one.high is not None
    word = f", {one.verdict}" if one.verdict else ""
    return f"{points(one.value)} points (95 % {points_interval(Interval(one.low, one.high))}){word}"


def _describe(panels: Sequence[_Panel]) -> str:
    """Return all differences as text."""
    return " ".join(
        f"{panel.name}: {'; '.join(f'{arm} {_word(one)}' for arm, one in panel.by_arm.items())}." for panel in panels
    )


def _draw_legend(panels: Sequence[_Panel]) -> list[str]:
    """Return the marks of the verdicts that occur, with their meaning."""
    occurring = {one.verdict for panel in panels for one in panel.by_arm.values()}
    meanings = {text: (shape, kind) for verdict, (shape, kind, text) in _MARKS.items() if verdict in occurring}
    lines, x = [], 0.0
    for text, (shape, kind) in meanings.items():
        bar = f'<line class="bar {kind}" x1="-13" x2="13" y1="0" y2="0"/>'
        lines.append(f'<g transform="translate({x + 13:.0f} -4)">{bar}{shape.format(f"mark {kind}")}</g>')
        lines.append(draw_text(x + 33, 0, "small", text))
        x += 33 + text_width(text, 11.5) + 14
    return lines
