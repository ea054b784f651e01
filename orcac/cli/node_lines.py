"""Nodes and their shards as lines on a terminal: a table that has fewer columns on a narrow one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orcac.cli.common import STYLES
from orcac.plan.plan import Plan
from orcac.plan.state import State
from orcac.text import clean, clock, dollars, pace

if TYPE_CHECKING:
    from rich.console import RenderableType

# Column -> the form of its cell among the notes, where it moves if there is no room for the column.
_COLUMNS = {"node": "", "what": "{}", "progress": "", "rate": "{}", "ETA": "ETA {}", "USD": "{} USD"}
_FIGURES = {"rate", "ETA", "USD"}
_LAYOUTS = (tuple(_COLUMNS), ("node", "what", "progress"), ("node", "progress"))  # the first that fits is used


def render_nodes(plan: Plan, shown: Iterable[tuple[str, State]], width: int) -> Iterator[RenderableType]:
    """Yield a header, and a line for each KIND/ID with its state and for each of its shards; nothing for no nodes."""
    if rows := [row for ref, state in shown for row in _make_rows(ref, plan.nodes[ref].label, state)]:
        yield from _render_rows(rows, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A node, or a shard of one."""

    cells: dict[str, str]  # as _COLUMNS
    style: str
    notes: list[str]


def _make_rows(ref: str, label: str, state: State) -> Iterator[_Row]:
    """Yield a node's row, and one for each shard that is running, failed or unfinished.

    The node's own error is printed elsewhere.
    """
    kind, _, number = ref.partition("/")
    yield _make_row(f"{kind}/{number[:8]}", clean(label), state)
    for index, shard in enumerate(state.shards, start=1):
        if shard.name in ("making", "failed", "partial"):
            why = shard.error if shard.error != state.error else ""
            yield _make_row(f"  {index} of {len(state.shards)}", "", replace(shard, note=why or shard.note))


def _make_row(name: str, what: str, state: State) -> _Row:
    usd = "" if state.usd is None else dollars(state.usd)
    shards = Counter(shard.name for shard in state.shards)
    notes = ["shards: " + ", ".join(f"{count} {name}" for name, count in shards.items())] if shards else []
    notes += [part for part in re.split(r"\s\s+|\n", clean(state.note)) if part and not (usd and part.endswith(" USD"))]
    cells = {
        "node": name,
        "what": what,
        "progress": _format_progress(state),
        "rate": pace(state.rate) if state.rate else "",
        "ETA": "" if state.eta_seconds is None else clock(state.eta_seconds),
        "USD": usd.removesuffix(" USD"),
    }
    return _Row(cells=cells, style=STYLES[state.name], notes=notes)


def _format_progress(state: State) -> str:
    counted = "" if state.done is None else f"{state.done:,}/{state.total:,} {clean(state.unit)}"
    if state.done is not None and state.total:
        counted += f"  {100 * state.done / state.total:.0f} %"
    if state.name == "making":
        return counted or "begins"
    return f"{state.name}, {counted}" if counted else state.name


def _render_rows(rows: list[_Row], width: int) -> Iterator[RenderableType]:
    """Yield the rows aligned below their heads. Notes follow a row on its line if they fit, else below it."""
    from rich.padding import Padding
    from rich.text import Text

    widths = {name: max(len(name), *(len(row.cells[name]) for row in rows)) for name in _COLUMNS}
    columns = next((some for some in _LAYOUTS if sum(widths[name] + 2 for name in some) - 2 <= width), _LAYOUTS[-1])

    def aligned(name: str, cell: str) -> str:
        return cell.rjust(widths[name]) if name in _FIGURES else cell.ljust(widths[name])

    yield Text("  ".join(aligned(name, name) for name in columns), "bold", no_wrap=True, overflow="ellipsis")
    for row in rows:
        line = Text("  ", no_wrap=True, overflow="ellipsis").join(
            Text(aligned(name, row.cells[name]), row.style if name in ("node", "progress") else "") for name in columns
        )
        moved = [name for name in _COLUMNS if name not in columns and row.cells[name]]
        notes = [*(_COLUMNS[name].format(row.cells[name]) for name in moved), *row.notes]
        if len(line) + 2 + len("  ".join(notes)) <= width:
            yield line.append("  " + "  ".join(notes), "dim")
            continue
        yield line
        indent = 4 if row.cells["node"].startswith(" ") else 2
        for text in _fill_lines(notes, width - indent):
            yield Padding(Text(text, "dim"), (0, 0, 0, indent), expand=False)


def _fill_lines(parts: list[str], width: int) -> Iterator[str]:
    """Yield lines of as many whole parts as fit into `width`."""
    line = ""
    for part in parts:
        if line and len(line) + 2 + len(part) > width:
            yield line
            line = ""
        line = f"{line}  {part}" if line else part
    if line:
        yield line
