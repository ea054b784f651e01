"""orcac status"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orcac.cli.common import STYLES, compile_specs
from orcac.cli.node_lines import render_nodes
from orcac.cli.printing import print_table
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_states
from orcac.store.store import Store
from orcac.study import find_study
from orcac.text import clean, json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_REDRAW_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 10.0  # between two nodes of a run; in a pause, no node is being made


@click.command("status")
@click.argument("specs", nargs=-1, type=click.Path())
@click.option("--once", is_flag=True, help="Print once, even while nodes are being made.")
@click.option("--json", "as_json", is_flag=True, help="Print the state of every node as JSON.")
def command(specs: tuple[str, ...], once: bool, as_json: bool) -> None:
    """Show the progress of SPECS, or of the plan compiled last: nodes done, running and failed, with the reasons.

    A node has a line for each shard that is running, failed or unfinished. On a terminal the display is redrawn
    until no node is being made any more, or until Ctrl-C.

    \b
    Example:
      orcac status
      orcac status specs/tiny.yaml --json
    """
    study = find_study(specs)
    plan, store = compile_specs(specs)[0] if specs else Plan.read(study.plan), study.store
    states = read_states(store, plan.nodes, {})
    if as_json:
        nodes = {ref: {"label": plan.nodes[ref].label, **asdict(state)} for ref, state in states.items()}
        click.echo(json_text({"states": nodes}))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if once or not console.is_terminal or not (_is_any_running(states) or _was_busy(store, states)):
        print_table(console, _render(plan, states, console.width))
        return
    from rich.live import Live

    last_running = time.monotonic()
    with Live(_render(plan, states, console.width), console=console, auto_refresh=False) as live:
        try:
            while time.monotonic() - last_running < _MAX_PAUSE_SECONDS and any(
                not state.is_finished for state in states.values()
            ):
                time.sleep(_REDRAW_SECONDS)
                states = read_states(store, plan.nodes, states)
                live.update(_render(plan, states, console.width), refresh=True)
                if _is_any_running(states):
                    last_running = time.monotonic()
        except KeyboardInterrupt:
            return


def _is_any_running(states: dict[str, State]) -> bool:
    return any(state.name == "making" for state in states.values())


def _was_busy(store: Store, states: dict[str, State]) -> bool:
    """Return whether a node was finished a moment ago, so that the next may start soon."""
    done = [store.marker(ref) for ref, state in states.items() if state.name == "done"]
    with contextlib.suppress(FileNotFoundError):
        return len(done) < len(states) and any(time.time() - path.stat().st_mtime < _MAX_PAUSE_SECONDS for path in done)
    return False


def _render(plan: Plan, states: dict[str, State], width: int) -> RenderableType:
    """Return the counts by kind, the nodes that are running, failed or unfinished, and the errors."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    kinds: dict[str, Counter[str]] = {}
    for ref, state in states.items():
        kinds.setdefault(plan.nodes[ref].kind, Counter())[state.name] += 1
    counts = Table(box=None, pad_edge=False, header_style="bold")
    counts.add_column("kind")
    names = [name for name in STYLES if name != "upstream" or any(count[name] for count in kinds.values())]
    for name in names:
        counts.add_column(name, justify="right")
    for kind, count in kinds.items():
        counts.add_row(kind, *(Text(str(count[name] or ""), STYLES[name]) for name in names))
    done = sum(state.is_finished for state in states.values())
    parts: list[RenderableType] = [counts, Text(), Text(f"{done} of {len(states)} nodes done")]

    shown = [
        (ref, states[ref]) for name in ("making", "failed", "partial") for ref in states if states[ref].name == name
    ]
    if shown:
        parts += [Text(), *render_nodes(plan, shown, width)]
    for ref, state in shown:
        if state.error:
            parts += [Text(), Text(f"{ref} failed: {clean(state.error)}", STYLES["failed"])]
    return Group(*parts)
