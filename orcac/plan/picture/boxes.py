"""The boxes of the picture, one for each node or stack of nodes, and the lines between them.

The replicates of a node are one box with a count. Above BOXES boxes, or ROWS in a column, like nodes are stacked as
well. The first of these steps that brings the numbers down far enough is taken:
    1. nodes of one kind, column and name that one arm each needs (all arms' evaluations on one benchmark)
    2. the same, whatever their names
    3. also nodes of one kind and column that some arms need
    4. all nodes of one kind and column
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from orcac.plan.picture.layout import Item
from orcac.plan.picture.svg import STATES
from orcac.plan.plan import Plan
from orcac.plan.replicates import strip_mark
from orcac.plan.sharing import describe_arms, map_arms_to_nodes, map_nodes_to_arms, map_replicates, strip_arm
from orcac.svg import text_width

BOXES, ROWS = 150, 36
HEIGHT = 60  # of a box, in pixels
STACK_SHIFT = 6  # from the front of a stack to its back
PADDING = 10
MIN_WIDTH, MAX_WIDTH = 104.0, 184.0
_LISTED = 12  # names in a box's tooltip


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan's nodes, each by KIND/ID, with everything that the picture shows of them."""

    plan: Plan
    states: Mapping[str, str]
    arms: Mapping[str, tuple[str, ...]]  # the arms that need the node
    places: Mapping[str, int]  # arm -> its place among all arms
    depths: Mapping[str, int]  # the longest path from a source
    names: Mapping[str, str]  # labels without the arm
    firsts: Mapping[str, str]  # a node of a later replicate -> the same node of the first one

    @classmethod
    def of(cls, plan: Plan, states: Mapping[str, str]) -> PlanView:
        arms = map_nodes_to_arms(plan)
        depths: dict[str, int] = {}
        for ref, node in plan.nodes.items():
            depths[ref] = 1 + max((depths[need] for need in node.needs), default=-1)
        return cls(
            plan=plan,
            states=states,
            arms=arms,
            places={arm: place for place, arm in enumerate(map_arms_to_nodes(plan))},
            depths=depths,
            names={ref: strip_arm(node.label, arms[ref]) for ref, node in plan.nodes.items()},
            firsts=map_replicates(plan),
        )

    def state(self, ref: str) -> str:
        return self.states.get(ref, "to do")

    def sharing(self, ref: str) -> str:
        """Return all, some or one: how many of the arms need the node. It is one if there is only one arm."""
        count = len(self.arms[ref])
        return "one" if count <= 1 else "all" if count == len(self.places) else "some"


@dataclass(frozen=True, slots=True)
class Box:
    """One node, or a stack of several of one kind and column."""

    refs: list[str]
    sharing: str  # all, some or one
    state: str
    kind: str
    corner: str  # the id's first digits, or the number of nodes
    name: str
    caption: str  # the arms that need it, and the number of nodes that are done
    tooltip: str  # the full text, shown under the pointer
    item: Item

    @property
    def width(self) -> int:
        """The width in pixels that the texts need, within limits."""
        text = max(
            text_width(self.kind, 11.5) + 8 + 6.4 * len(self.corner) + 4,
            text_width(self.name, 13.5),
            text_width(self.caption, 11.5),
        )
        return ceil(min(max(text + 2 * PADDING, MIN_WIDTH), MAX_WIDTH))


def make_boxes(view: PlanView) -> list[Box]:
    """Return the boxes in the order that ties between rows fall back to: shared by all, by some, then arm by arm."""
    for step in range(5):
        groups: dict[Hashable, list[str]] = {}
        for ref in view.plan.nodes:
            groups.setdefault(_stack_key(view, ref, step), []).append(ref)
        rows = Counter(view.depths[refs[0]] for refs in groups.values())
        if len(groups) <= BOXES and max(rows.values()) <= ROWS:
            break
    boxes = [_make_single(view, refs[0]) if len(refs) == 1 else _make_stack(view, refs) for refs in groups.values()]
    last = len(view.places)  # the place of nodes that only baselines need; baselines are not an arm
    first = {id(box): min((view.places.get(arm, last) for arm in view.arms[box.refs[0]]), default=0) for box in boxes}
    return sorted(boxes, key=lambda box: (("all", "some", "one").index(box.sharing), first[id(box)]))


def _stack_key(view: PlanView, ref: str, step: int) -> Hashable:
    """Return a key that is equal for the nodes of one box at this step of stacking."""
    column, sharing = (view.depths[ref], view.plan.nodes[ref].kind), view.sharing(ref)
    if step == 4:
        return column
    if step == 1 and sharing == "one":
        return *column, strip_mark(view.names[ref])
    if (step >= 2 and sharing == "one") or (step == 3 and sharing == "some"):
        return *column, sharing
    return *column, view.arms[ref], view.firsts.get(ref, ref)


def _make_single(view: PlanView, ref: str) -> Box:
    kind, _, number = ref.partition("/")
    arms, sharing, state = view.arms[ref], view.sharing(ref), view.state(ref)
    counted = describe_arms(arms, len(view.places))
    caption = counted if sharing == "all" else ", ".join(arms)
    if sharing == "some" and text_width(caption, 11.5) > MAX_WIDTH - 2 * PADDING:
        caption = f"{len(arms):,} of {len(view.places):,} arms"
    tooltip = f"{ref}\n{view.plan.nodes[ref].label}\n{state}\nwanted by {counted}"
    if sharing == "some":
        tooltip += f": {_join_names(arms)}"
    item = Item(column=view.depths[ref], height=HEIGHT)
    return Box([ref], sharing, state, kind, number[:8], view.names[ref], caption, tooltip, item)


def _make_stack(view: PlanView, refs: list[str]) -> Box:
    sharings = {view.sharing(ref) for ref in refs}
    sharing = sharings.pop() if len(sharings) == 1 else "some"
    uses = Counter(arm for ref in refs for arm in view.arms[ref])
    arms = describe_arms([arm for arm in uses if arm in view.places] or list(uses), len(view.places))
    caption = arms
    if sharing == "one" and len(uses) > 1 and len(set(uses.values())) == 1:
        each = next(iter(uses.values()))
        caption = "one an arm" if each == 1 else f"{each:,} an arm"
    counts = Counter(view.state(ref) for ref in refs)
    state = next(state for state in ("failed", "making", "partial", "to do", "done") if counts[state])
    if counts["done"] and state != "done":
        state = "partial" if state == "to do" else state
        caption += f" · {counts['done']:,} done"
    kind = refs[0].partition("/")[0]
    names = _join_names(list(dict.fromkeys(strip_mark(view.names[ref]) for ref in refs)))
    states = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    tooltip = f"{len(refs):,} {kind} nodes: {names}\n{states}\nwanted by {arms}"
    item = Item(column=view.depths[refs[0]], height=HEIGHT + STACK_SHIFT)
    return Box(refs, sharing, state, kind, f"× {len(refs):,}", names, caption, tooltip, item)


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else "")


def find_edges(plan: Plan, boxes: list[Box]) -> list[tuple[int, int]]:
    """Return the lines between boxes as (from, to), both indices into `boxes`, in transitive reduction.

    A line is left out if a longer path of boxes implies it: a report needs every node, and has lines only from the
    evaluations and last stages. Ancestors are bit sets, so each edge costs one `or`.
    """
    box_of = {ref: place for place, box in enumerate(boxes) for ref in box.refs}
    needs: list[set[int]] = [set() for _ in boxes]
    for ref, node in plan.nodes.items():
        needs[box_of[ref]].update(box_of[need] for need in node.needs)
    ancestors, edges = [0] * len(boxes), []
    for place in sorted(range(len(boxes)), key=lambda place: boxes[place].item.column):
        implied = 0
        for need in needs[place]:
            implied |= ancestors[need]
        kept = [need for need in sorted(needs[place]) if not implied >> need & 1]
        edges += [(need, place) for need in kept]
        ancestors[place] = implied | sum(1 << need for need in kept)
    return edges
