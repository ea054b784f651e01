"""orcac status"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from orcac.chat.messages import dollars
from orcac.cli.common import STYLES, opened, plain
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_state
from orcac.progress import clock
from orcac.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType

_REDRAW_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0  # between two nodes of a run nothing is being made for some seconds


@click.command("status")
@click.option("--once", is_flag=True, help="Print once, also where something is being made.")
@click.option("--json", "as_json", is_flag=True, help="Print every node's state once, for a script.")
def command(once: bool, as_json: bool) -> None:
    """Show how far the compiled plan is: what is done, what is being made, what failed and why.

    A collect node has a line for each shard that is at work or left half done. On a terminal, while something is being
    made, all is redrawn until nothing is any more or Ctrl-C ends it.

    \b
    Example:
      orcac status
      orcac status --json
    """
    path, store = opened()
    plan = Plan.read(path)
    states = _read(plan, store, {})
    if as_json:
        nodes = {ref: {"label": plan.nodes[ref].label, **asdict(state)} for ref, state in states.items()}
        click.echo(json.dumps({"states": nodes}, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if once or not console.is_terminal or not (_making(states) or _was_busy(store, states)):
        console.print(_picture(plan, states, console.width))
        return
    from rich.live import Live

    seen = time.monotonic()
    with Live(_picture(plan, states, console.width), console=console, auto_refresh=False) as live:
        try:
            while time.monotonic() - seen < _PATIENCE_SECONDS and any(
                state.name != "done" for state in states.values()
            ):
                time.sleep(_REDRAW_SECONDS)
                states = _read(plan, store, states)
                live.update(_picture(plan, states, console.width), refresh=True)
                if _making(states):
                    seen = time.monotonic()
        except KeyboardInterrupt:
            return


def _read(plan: Plan, store: Store, before: dict[str, State]) -> dict[str, State]:
    """Every node's state; what was done `before` stays so."""
    return {
        ref: before[ref] if ref in before and before[ref].name == "done" else read_state(store, node)
        for ref, node in plan.nodes.items()
    }


def _making(states: dict[str, State]) -> bool:
    return any(state.name == "making" for state in states.values())


def _was_busy(store: Store, states: dict[str, State]) -> bool:
    """Whether a node was done a moment ago: the next one may be about to begin."""
    done = [store.marker(ref) for ref, state in states.items() if state.name == "done"]
    with contextlib.suppress(FileNotFoundError):
        return len(done) < len(states) and any(time.time() - path.stat().st_mtime < _PATIENCE_SECONDS for path in done)
    return False


def _picture(plan: Plan, states: dict[str, State], width: int) -> RenderableType:
    """The counts by kind; below them the nodes at work, failed or left half done; below those why they failed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    kinds: dict[str, Counter[str]] = {}
    for ref, state in states.items():
        kinds.setdefault(plan.nodes[ref].kind, Counter())[state.name] += 1
    counts = Table(box=None, pad_edge=False, header_style="bold")
    counts.add_column("kind")
    for name in STYLES:
        counts.add_column(name, justify="right")
    for kind, count in kinds.items():
        counts.add_row(kind, *(Text(str(count[name] or ""), STYLES[name]) for name in STYLES))
    done = sum(state.name == "done" for state in states.values())
    parts: list[RenderableType] = [counts, Text(), Text(f"{done} of {len(states)} nodes done")]

    shown = [
        (ref, states[ref]) for name in ("making", "failed", "partial") for ref in states if states[ref].name == name
    ]
    if shown:
        rows = [row for ref, state in shown for row in _rows(ref, plan.nodes[ref].label, state)]
        parts += [Text(), *_lines(rows, width)]
    for ref, state in shown:
        if state.error:
            parts += [Text(), Text(f"{ref} failed: {plain(state.error)}", STYLES["failed"])]
    return Group(*parts)


# Of a node or a shard. Where a column finds no room, its cells stand in this form among the notes.
_COLUMNS = {"node": "", "what": "{}", "progress": "", "a second": "{}/s", "ETA": "ETA {}", "USD": "{} USD"}
_FIGURES = {"a second", "ETA", "USD"}
_FITTING = (tuple(_COLUMNS), ("node", "what", "progress"), ("node", "progress"))  # the first that finds room


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A node, or a shard of one."""

    cells: dict[str, str]  # as _COLUMNS
    style: str
    notes: list[str]


def _rows(ref: str, label: str, state: State) -> Iterator[_Row]:
    """A node's row, and one for each of its shards that is at work or left half done."""
    kind, _, number = ref.partition("/")
    yield _row(f"{kind}/{number[:8]}", plain(label), state)
    for index, shard in enumerate(state.shards, start=1):
        if shard.name in ("making", "partial"):
            yield _row(f"  {index} of {len(state.shards)}", "", shard)


def _row(name: str, what: str, state: State) -> _Row:
    usd = "" if state.usd is None else dollars(state.usd)
    shards = Counter(shard.name for shard in state.shards)
    notes = ["shards: " + ", ".join(f"{count} {name}" for name, count in shards.items())] if shards else []
    notes += [part for part in re.split(r"\s\s+|\n", plain(state.note)) if part and not (usd and part.endswith(" USD"))]
    cells = {
        "node": name,
        "what": what,
        "progress": _progress(state),
        "a second": "" if state.rate is None else f"{state.rate:,.1f}",
        "ETA": "" if state.eta_seconds is None else clock(state.eta_seconds),
        "USD": usd.removesuffix(" USD"),
    }
    return _Row(cells=cells, style=STYLES[state.name], notes=notes)


def _progress(state: State) -> str:
    counted = "" if state.done is None else f"{state.done:,}/{state.total:,} {plain(state.unit)}"
    if state.done is not None and state.total:
        counted += f"  {100 * state.done / state.total:.0f} %"
    if state.name == "making":
        return counted or "begins"
    return f"{state.name}, {counted}" if counted else state.name


def _lines(rows: list[_Row], width: int) -> Iterator[RenderableType]:
    """The rows, aligned below their heads; notes stand behind a row where `width` has room for them, else below it."""
    from rich.padding import Padding
    from rich.text import Text

    widths = {name: max(len(name), *(len(row.cells[name]) for row in rows)) for name in _COLUMNS}
    columns = next((some for some in _FITTING if sum(widths[name] + 2 for name in some) - 2 <= width), _FITTING[-1])

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
        for text in _filled(notes, width - indent):
            yield Padding(Text(text, "dim"), (0, 0, 0, indent), expand=False)


def _filled(parts: list[str], width: int) -> Iterator[str]:
    """Lines of whole parts, each with as many as `width` has room for."""
    line = ""
    for part in parts:
        if line and len(line) + 2 + len(part) > width:
            yield line
            line = ""
        line = f"{line}  {part}" if line else part
    if line:
        yield line
