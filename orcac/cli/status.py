"""orcac status"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orcac.cli.common import STYLES, opened, plain
from orcac.cli.node_lines import node_lines
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_states
from orcac.store.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType

_REDRAW_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0  # between two nodes of a run nothing is being made for some seconds


@click.command("status")
@click.option("--once", is_flag=True, help="Print once, also where something is being made.")
@click.option("--json", "as_json", is_flag=True, help="Print every node's state once, for a script.")
def command(once: bool, as_json: bool) -> None:
    """Show how far the compiled plan is: what is done, what is being made, what failed and why.

    A collect node has a line for each shard that is at work, failed or left half done. On a terminal, while something
    is being made, all is redrawn until nothing is any more or Ctrl-C ends it.

    \b
    Example:
      orcac status
      orcac status --json
    """
    path, store = opened()
    plan = Plan.read(path)
    states = read_states(store, plan.nodes, {})
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
                states = read_states(store, plan.nodes, states)
                live.update(_picture(plan, states, console.width), refresh=True)
                if _making(states):
                    seen = time.monotonic()
        except KeyboardInterrupt:
            return


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
        parts += [Text(), *node_lines(plan, shown, width)]
    for ref, state in shown:
        if state.error:
            parts += [Text(), Text(f"{ref} failed: {plain(state.error)}", STYLES["failed"])]
    return Group(*parts)
