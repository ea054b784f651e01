"""Draws a plan as an SVG.

Columns are depths, the longest paths from a source, so a curriculum's chain of stages reads from left to right. A node
that all arms need has a tinted box with a heavy border, one that some arms need a dashed border, one that a single arm
needs a thin grey border. Lines between the nodes that all arms share are tinted as well, so that the common trunk
stands out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orcac.plan.picture.boxes import HEIGHT, PADDING, STACK_SHIFT, Box, PlanView, find_edges, make_boxes
from orcac.plan.picture.layout import Item, layout
from orcac.plan.picture.svg import STATES, define_marks, define_style, draw_mark
from orcac.plan.plan import Plan
from orcac.svg import draw_text, escape_text, open_svg, shorten_text, text_width

_BETWEEN = 40  # columns
_MARGIN, _TOP, _BOTTOM = 28, 88, 96  # around the boxes; title and facts are above them, the legend is below
_TITLE_WIDTH = 760


def draw_plan(plan: Plan, states: Mapping[str, str], *, title: str) -> str:
    """Return the SVG of a plan of at least one node.

    states: KIND/ID -> one of STATES; a node without a state is to do
    """
    view = PlanView.of(plan, states)
    boxes = make_boxes(view)
    paths = layout([box.item for box in boxes], find_edges(plan, boxes))
    columns = range(1 + max(box.item.column for box in boxes))
    widths = [max(box.width for box in boxes if box.item.column == column) for column in columns]
    title, facts = shorten_text(title, _TITLE_WIDTH, 19), _describe_plan(view, boxes)
    legend, legend_width = _draw_legend(view)
    drawn = sum(widths) + _BETWEEN * (len(widths) - 1) + STACK_SHIFT
    inner = max(drawn, legend_width, text_width(title, 19), text_width(facts, 12.5))
    lefts = [_MARGIN + (inner - drawn) / 2 + sum(widths[:column]) + _BETWEEN * column for column in columns]
    bottom = _TOP + max(box.item.y + box.item.height / 2 for box in boxes)
    width, height = round(inner + 2 * _MARGIN), round(bottom + _BOTTOM)

    trunk = {(a, b) for a, b in paths if boxes[a].sharing == boxes[b].sharing == "all"}
    lines = [
        *open_svg(width, height, title, facts),
        define_style(),
        "<defs>",
        *define_marks(),
        "</defs>",
        f'<rect class="page" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        draw_text(_MARGIN, 40, "title", title),
        draw_text(_MARGIN, 61, "note muted", facts),
        *(_draw_line("edge", path, lefts, widths) for edge, path in paths.items() if edge not in trunk),
        *(_draw_line("trunk", path, lefts, widths) for edge, path in paths.items() if edge in trunk),
    ]
    for box in boxes:
        lines += _draw_box(box, lefts[box.item.column], widths[box.item.column])
    return "\n".join(
        [*lines, f'<g transform="translate({_MARGIN:g} {bottom + 42:.0f})">', *legend, "</g>", "</svg>", ""]
    )


def _describe_plan(view: PlanView, boxes: list[Box]) -> str:
    """Return the line under the title: the numbers of nodes, arms and shared nodes."""
    nodes, arms = len(view.plan.nodes), len(view.places)
    facts = [f"{nodes:,} node{'s' * (nodes != 1)}", f"{arms:,} arm{'s' * (arms != 1)}"]
    if arms > 1:
        shared = Counter(view.sharing(ref) for ref in view.plan.nodes)
        facts.append(f"{shared['all']:,} shared by all, {shared['some']:,} by some, {shared['one']:,} of one arm alone")
    facts.append(f"{sum(view.state(ref) != 'done' for ref in view.plan.nodes):,} to make")
    if len(boxes) < nodes:
        facts.append(f"drawn as {len(boxes):,} boxes, like nodes stacked")
    return "  ·  ".join(facts)


def _draw_box(box: Box, left: float, width: float) -> list[str]:
    top = _TOP + box.item.y - box.item.height / 2
    right = width - PADDING
    lines = [f'<g transform="translate({left:.0f} {top:.0f})"><title>{escape_text(box.tooltip)}</title>']
    if len(box.refs) > 1:
        lines += [
            f'<path class="{box.sharing}" d="M{shift + 8:g} {shift:g}h{width - 16:.0f}a8 8 0 0 1 8 8v{HEIGHT - 16:.0f}'
            f'a8 8 0 0 1 -8 8h-{width - 16:.0f}a8 8 0 0 1 -8-8v-{HEIGHT - 16:.0f}a8 8 0 0 1 8-8z"/>'
            for shift in (STACK_SHIFT, STACK_SHIFT / 2)
        ]
    return [
        *lines,
        f'<rect class="{box.sharing}" width="{width:.0f}" height="{HEIGHT:.0f}" rx="8"/>',
        draw_text(PADDING, 18, "muted", box.kind),
        draw_text(right - 4, 18, "id muted end", box.corner),
        draw_text(PADDING, 35, "name", shorten_text(box.name, width - 2 * PADDING, 13.5)),
        draw_text(PADDING, 51, "foot", shorten_text(box.caption, width - 2 * PADDING, 11.5)),
        f"{draw_mark(box.state, f'{width - 2:.0f}', '2')}</g>",
    ]


def _draw_line(name: str, path: Sequence[Item], lefts: Sequence[float], widths: Sequence[float]) -> str:
    """Return a line from the right side of the first box, straight through each lane, to the left side of the last."""
    rows = [_TOP + item.y for item in path]
    x = lefts[path[0].column] + widths[path[0].column]
    steps = [f"M{x:.0f} {rows[0]:.0f}"]
    for item, before, row in zip(path[1:], rows, rows[1:], strict=False):
        left = lefts[item.column]
        middle = (x + left) / 2
        steps.append(f"C{middle:.0f} {before:.0f} {middle:.0f} {row:.0f} {left:.0f} {row:.0f}")
        if item.is_lane:
            x = left + widths[item.column]
            steps.append(f"H{x:.0f}")
    return f'<path class="{name}" d="{"".join(steps)}"/>'


def _draw_legend(view: PlanView) -> tuple[list[str], float]:
    """Return the legend and its width: a line of states with their counts, and one of borders if there are arms."""
    counts = Counter(view.state(ref) for ref in view.plan.nodes)
    lines, x = [], 0.0
    for state in STATES:
        text = f"{state} {counts[state]:,}"
        lines += [draw_mark(state, f"{x + 8:.0f}", "-4"), draw_text(x + 21, 0, "note", text)]
        x += 21 + text_width(text, 12.5) + 22
    first_width, x = x, 0.0
    borders = [("all", "shared by all arms"), ("some", "by some arms"), ("one", "of one arm alone")]
    for sharing, text in borders if len(view.places) > 1 else []:
        lines.append(f'<rect class="{sharing}" x="{x + 1:.0f}" y="15" width="27" height="15" rx="4"/>')
        lines.append(draw_text(x + 36, 27, "note", text))
        x += 36 + text_width(text, 12.5) + 22
    return lines, max(first_width, x)
