"""The plan as a picture: one self-contained SVG that shows above all what the arms share.

Columns are depth, the longest path from a source, so a curriculum's chain of stages reads from left to right
(`layout.py` finds the rows). A node that all arms want has a tinted box with a heavy border, one that some want a
dashed border, one that a single arm wants a thin grey one; lines between what all arms share are tinted too, so the
common trunk stands out. A node's state is a mark of its own shape as well as its own colour.

Only lines that no other path implies are drawn (the transitive reduction): a report needs every node, and is drawn
with lines from the evaluations and last stages alone.

Above BOXES boxes, or ROWS in a column, nodes are stacked into boxes with a count, by the first of these steps that
is enough:
    1. nodes of one kind, column and name that are wanted by one arm each (all arms' evaluations on one benchmark)
    2. the same, whatever their names
    3. nodes of one kind and column that are wanted by some arms, too
    4. all nodes of one kind and column
In a stacked picture a line is left out, too, where a path of boxes implies it.

No library: what draws DAGs in Python binds Graphviz, or lacks lanes and stacks, or is no longer kept. No script, font
or file from outside; colours are plain values with a second set under `prefers-color-scheme: dark`, because not every
viewer knows CSS variables. The same plan and states give the same bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

from orcac.plan.picture.layout import Item, layout
from orcac.plan.plan import Plan
from orcac.plan.sharing import describe_arms, map_arms_to_nodes, map_nodes_to_arms, strip_arm

BOXES, ROWS = 150, 36
STATES = ("done", "making", "failed", "partial", "to do")
_WIDTHS = 104.0, 184.0  # of a box, least and most
_HEIGHT, _STACK, _PAD, _BETWEEN, _MARGIN, _TOP = 60, 6, 10, 40, 28, 88
_FORBIDDEN = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2029\\u202f-\\u2065\\u206a-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
)

_COLOURS = (  # selector, property, light, dark
    (".page", "fill", "#ffffff", "#0d1117"),
    (".page", "stroke", "#d1d9e0", "#30363d"),
    ("text", "fill", "#1f2328", "#e6edf3"),
    (".muted", "fill", "#59636e", "#9198a1"),
    (".edge", "stroke", "#b3bcc7", "#4d5663"),
    (".trunk", "stroke", "#9787e0", "#7566c4"),
    (".all", "fill", "#e8e3fc", "#2d2556"),
    (".some", "fill", "#f7f5ff", "#1a1730"),
    (".one", "fill", "#ffffff", "#161b22"),
    (".all,.some", "stroke", "#6e56cf", "#9e8cfc"),
    (".one", "stroke", "#aab4bf", "#566070"),
    (".hole", "fill", "#ffffff", "#0d1117"),
    (".glyph", "stroke", "#ffffff", "#0d1117"),
    (".glyph.solid", "fill", "#ffffff", "#0d1117"),
    (".done", "fill", "#1a7f37", "#3fb950"),
    (".making", "fill", "#0969da", "#4493f8"),
    (".failed", "fill", "#cf222e", "#f85149"),
    (".partial", "fill", "#b35900", "#e0a030"),
    (".to-do", "fill", "#818b98", "#7d8590"),
)
_STYLE = """
text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif}
.title{font-size:19px;font-weight:600}.name{font-size:13.5px;font-weight:600}.note{font-size:12.5px}
.id{font:10.5px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.end{text-anchor:end}.edge,.trunk{fill:none;stroke-width:1.4}.trunk{stroke-width:1.8}
.all{stroke-width:2}.some{stroke-width:1.6;stroke-dasharray:5 3}.one{stroke-width:1.2}
.glyph{fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}.glyph.solid{stroke-width:1}
"""
# a disc of radius 8 in the page's colour sets a mark off from the border it stands on
_MARKS = {
    "done": '<circle class="done" r="6.5"/><path class="glyph" d="M-3 .3l2 2 3.8-4.2"/>',
    "making": '<circle class="making" r="6.5"/><path class="glyph solid" d="M-1.7-2.8v5.6L3 0z"/>',
    "failed": '<circle class="failed" r="6.5"/><path class="glyph" d="M-2.4-2.4l4.8 4.8m0-4.8l-4.8 4.8"/>',
    "partial": '<circle class="partial" r="6.5"/><path class="hole" d="M0-4.7a4.7 4.7 0 0 1 0 9.4z"/>',
    "to do": '<circle class="to-do" r="6.5"/><circle class="hole" r="4.7"/>',
}


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the nodes, each by KIND/ID."""

    plan: Plan
    states: Mapping[str, str]
    arms: Mapping[str, tuple[str, ...]]
    places: Mapping[str, int]  # of the arms, among all of them
    depths: Mapping[str, int]
    names: Mapping[str, str]  # labels without the arm

    def state(self, ref: str) -> str:
        return self.states.get(ref, "to do")

    def sharing(self, ref: str) -> str:
        """all, some or one: how many of the arms want the node. A lone arm shares nothing."""
        count = len(self.arms[ref])
        return "one" if count <= 1 else "all" if count == len(self.places) else "some"


@dataclass(frozen=True, slots=True)
class _Box:
    """One node, or a stack of several of one kind and column."""

    refs: list[str]
    sharing: str
    state: str
    kind: str
    corner: str  # the id's first digits, or how many nodes
    name: str
    foot: str  # which arms
    about: str  # all of it, shown where somebody points at the box
    item: Item


def draw_plan(plan: Plan, states: Mapping[str, str], *, title: str) -> str:
    """The SVG of a plan of at least one node. states: KIND/ID -> one of STATES; a node that it lacks is to do."""
    known = _known(plan, states)
    boxes = _boxes(known)
    paths = layout([box.item for box in boxes], _edges(plan, boxes))
    columns = range(1 + max(box.item.column for box in boxes))
    widths = [max(_fitting(box) for box in boxes if box.item.column == column) for column in columns]
    title, facts = _cut(title, 760, 19), _facts(known, boxes)
    legend, legend_width = _legend(known)
    drawn = sum(widths) + _BETWEEN * (len(widths) - 1) + _STACK
    inner = max(drawn, legend_width, _width(title, 19), _width(facts, 12.5))
    lefts = [_MARGIN + (inner - drawn) / 2 + sum(widths[:column]) + _BETWEEN * column for column in columns]
    bottom = _TOP + max(box.item.y + box.item.height / 2 for box in boxes)
    width, height = round(inner + 2 * _MARGIN), round(bottom + 96)

    trunk = {(a, b) for a, b in paths if boxes[a].sharing == boxes[b].sharing == "all"}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' role="img" aria-labelledby="title facts">',
        f'<title id="title">{_plain(title)}</title>',
        f'<desc id="facts">{_plain(facts)}</desc>',
        f"<style>{_STYLE}{_css(light=True)}@media(prefers-color-scheme:dark){{{_css(light=False)}}}</style>",
        "<defs>",
        *(f'<g id="{_slug(state)}"><circle class="hole" r="8"/>{mark}</g>' for state, mark in _MARKS.items()),
        "</defs>",
        f'<rect class="page" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        _text(_MARGIN, 40, "title", title),
        _text(_MARGIN, 61, "note muted", facts),
        *(_curve("edge", path, lefts, widths) for edge, path in paths.items() if edge not in trunk),
        *(_curve("trunk", path, lefts, widths) for edge, path in paths.items() if edge in trunk),
    ]
    for box in boxes:
        lines += _drawn(box, lefts[box.item.column], widths[box.item.column])
    return "\n".join(
        [*lines, f'<g transform="translate({_MARGIN:g} {bottom + 42:.0f})">', *legend, "</g>", "</svg>", ""]
    )


# --- what is shown -------------------------------------------------------------------------------------------------


def _known(plan: Plan, states: Mapping[str, str]) -> _Known:
    arms = map_nodes_to_arms(plan)
    depths: dict[str, int] = {}
    for ref, node in plan.nodes.items():
        depths[ref] = 1 + max((depths[need] for need in node.needs), default=-1)
    return _Known(
        plan=plan,
        states=states,
        arms=arms,
        places={arm: place for place, arm in enumerate(map_arms_to_nodes(plan))},
        depths=depths,
        names={ref: strip_arm(node.label, arms[ref]) for ref, node in plan.nodes.items()},
    )


def _boxes(known: _Known) -> list[_Box]:
    """Ordered as rows are where nothing else decides: what all share, what some do, then arm by arm."""
    for step in range(5):
        groups: dict[Hashable, list[str]] = {}
        for ref in known.plan.nodes:
            groups.setdefault(_alike(known, ref, step), []).append(ref)
        rows = Counter(known.depths[refs[0]] for refs in groups.values())
        if len(groups) <= BOXES and max(rows.values()) <= ROWS:
            break
    boxes = [_single(known, refs[0]) if len(refs) == 1 else _stack(known, refs) for refs in groups.values()]
    last = len(known.places)  # where the baselines come, which are no arm
    first = {id(box): min((known.places.get(arm, last) for arm in known.arms[box.refs[0]]), default=0) for box in boxes}
    return sorted(boxes, key=lambda box: (("all", "some", "one").index(box.sharing), first[id(box)]))


def _alike(known: _Known, ref: str, step: int) -> Hashable:
    """Nodes of equal answer are one box at this step of stacking; at step 0 none are."""
    shape, sharing = (known.depths[ref], known.plan.nodes[ref].kind), known.sharing(ref)
    if step == 4:
        return shape
    if step == 1 and sharing == "one":
        return *shape, known.names[ref]
    return (*shape, sharing) if (step >= 2 and sharing == "one") or (step == 3 and sharing == "some") else ref


def _single(known: _Known, ref: str) -> _Box:
    kind, _, number = ref.partition("/")
    arms, sharing, state = known.arms[ref], known.sharing(ref), known.state(ref)
    foot = describe_arms(arms, len(known.places)) if sharing == "all" else ", ".join(arms)
    if sharing == "some" and _width(foot, 11.5) > _WIDTHS[1] - 2 * _PAD:
        foot = f"{len(arms):,} of {len(known.places):,} arms"
    about = [ref, known.plan.nodes[ref].label, state, f"wanted by {describe_arms(arms, len(known.places))}"]
    if sharing == "some":
        about[-1] += f": {_some(arms)}"
    item = Item(column=known.depths[ref], height=_HEIGHT)
    return _Box([ref], sharing, state, kind, number[:8], known.names[ref], foot, "\n".join(about), item)


def _stack(known: _Known, refs: list[str]) -> _Box:
    sharings = {known.sharing(ref) for ref in refs}
    sharing = sharings.pop() if len(sharings) == 1 else "some"
    uses = Counter(arm for ref in refs for arm in known.arms[ref])
    wanted = describe_arms([arm for arm in uses if arm in known.places] or list(uses), len(known.places))
    foot = wanted
    if sharing == "one" and len(set(uses.values())) == 1:
        each = next(iter(uses.values()))
        foot = "one an arm" if each == 1 else f"{each:,} an arm"
    counts = Counter(known.state(ref) for ref in refs)
    state = next(state for state in ("failed", "making", "partial", "to do", "done") if counts[state])
    if counts["done"] and state != "done":
        state = "partial" if state == "to do" else state
        foot += f" · {counts['done']:,} done"
    kind = refs[0].partition("/")[0]
    names = _some(list(dict.fromkeys(known.names[ref] for ref in refs)))
    told = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    about = f"{len(refs):,} {kind} nodes: {names}\n{told}\nwanted by {wanted}"
    item = Item(column=known.depths[refs[0]], height=_HEIGHT + _STACK)
    return _Box(refs, sharing, state, kind, f"× {len(refs):,}", names, foot, about, item)


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _facts(known: _Known, boxes: list[_Box]) -> str:
    nodes, arms = len(known.plan.nodes), len(known.places)
    facts = [f"{nodes:,} node{'s' * (nodes != 1)}", f"{arms:,} arm{'s' * (arms != 1)}"]
    if arms > 1:
        shared = Counter(known.sharing(ref) for ref in known.plan.nodes)
        facts.append(f"{shared['all']:,} shared by all, {shared['some']:,} by some, {shared['one']:,} of one arm alone")
    facts.append(f"{sum(known.state(ref) != 'done' for ref in known.plan.nodes):,} to make")
    if len(boxes) < nodes:
        facts.append(f"drawn as {len(boxes):,} boxes, like nodes stacked")
    return "  ·  ".join(facts)


def _edges(plan: Plan, boxes: list[_Box]) -> list[tuple[int, int]]:
    """From box to box, less those that a longer path implies. Ancestors are bit sets: one `or` an edge."""
    where = {ref: place for place, box in enumerate(boxes) for ref in box.refs}
    needs: list[set[int]] = [set() for _ in boxes]
    for ref, node in plan.nodes.items():
        needs[where[ref]].update(where[need] for need in node.needs)
    above, edges = [0] * len(boxes), []
    for place in sorted(range(len(boxes)), key=lambda place: boxes[place].item.column):
        implied = 0
        for need in needs[place]:
            implied |= above[need]
        kept = [need for need in sorted(needs[place]) if not implied >> need & 1]
        edges += [(need, place) for need in kept]
        above[place] = implied | sum(1 << need for need in kept)
    return edges


# --- how it is drawn -----------------------------------------------------------------------------------------------


def _drawn(box: _Box, left: float, width: float) -> list[str]:
    top = _TOP + box.item.y - box.item.height / 2
    right = width - _PAD
    lines = [f'<g transform="translate({left:.0f} {top:.0f})"><title>{_plain(box.about)}</title>']
    if len(box.refs) > 1:
        lines += [
            f'<path class="{box.sharing}" d="M{by + 8:g} {by:g}h{width - 16:.0f}a8 8 0 0 1 8 8v{_HEIGHT - 16:.0f}'
            f'a8 8 0 0 1 -8 8h-{width - 16:.0f}a8 8 0 0 1 -8-8v-{_HEIGHT - 16:.0f}a8 8 0 0 1 8-8z"/>'
            for by in (_STACK, _STACK / 2)
        ]
    return [
        *lines,
        f'<rect class="{box.sharing}" width="{width:.0f}" height="{_HEIGHT:.0f}" rx="8"/>',
        _text(_PAD, 18, "muted", box.kind),
        _text(right - 4, 18, "id muted end", box.corner),
        _text(_PAD, 35, "name", _cut(box.name, width - 2 * _PAD, 13.5)),
        _text(_PAD, 51, "foot", _cut(box.foot, width - 2 * _PAD, 11.5)),
        f'<use href="#{_slug(box.state)}" x="{width - 2:.0f}" y="2"/></g>',
    ]


def _fitting(box: _Box) -> float:
    wanted = max(_width(box.kind, 11.5) + 8 + 6.4 * len(box.corner) + 4, _width(box.name, 13.5), _width(box.foot, 11.5))
    return float(ceil(min(max(wanted + 2 * _PAD, _WIDTHS[0]), _WIDTHS[1])))


def _curve(name: str, path: list[Item], lefts: list[float], widths: list[float]) -> str:
    """From the right side of the first box, straight through each lane, to the left side of the last."""
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


def _legend(known: _Known) -> tuple[list[str], float]:
    """Two lines, and how wide they are: the states with their counts, then the borders."""
    counts = Counter(known.state(ref) for ref in known.plan.nodes)
    lines, x = [], 0.0
    for state in STATES:
        text = f"{state} {counts[state]:,}"
        lines += [f'<use href="#{_slug(state)}" x="{x + 8:.0f}" y="-4"/>', _text(x + 21, 0, "note", text)]
        x += 21 + _width(text, 12.5) + 22
    widest, x = x, 0.0
    borders = [("all", "shared by all arms"), ("some", "by some arms"), ("one", "of one arm alone")]
    for sharing, text in borders if len(known.places) > 1 else []:
        lines.append(f'<rect class="{sharing}" x="{x + 1:.0f}" y="15" width="27" height="15" rx="4"/>')
        lines.append(_text(x + 36, 27, "note", text))
        x += 36 + _width(text, 12.5) + 22
    return lines, max(widest, x)


def _text(x: float, y: float, name: str, text: str) -> str:
    return f'<text class="{name}" x="{x:.0f}" y="{y:.0f}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    """Text for XML: markup escaped; what XML forbids, and what would turn the line's direction, replaced."""
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _cut(text: str, room: float, size: float) -> str:
    """`text` on one line, cut with an ellipsis where it is wider than `room` pixels."""
    text = " ".join(text.split())
    if _width(text, size) <= room:
        return text
    while text and _width(text, size) > room - 0.9 * size:
        text = text[:-1]
    return text.rstrip() + "…"


def _width(text: str, size: float) -> float:
    """Pixels, as in a wide font: the reader's cannot be asked. Sizes above 13 are bold."""
    return size * sum(_em(letter) for letter in text) * (1.1 if size > 13 else 1.0)


def _em(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "iljtfr.,:;'|!()[]- ":
        return 0.4
    return 0.98 if letter in "mwMW@%…" else 0.74 if letter.isupper() else 0.63


def _slug(state: str) -> str:
    return state.replace(" ", "-")


def _css(*, light: bool) -> str:
    return "".join(f"{at}{{{what}:{bright if light else dark}}}" for at, what, bright, dark in _COLOURS)
