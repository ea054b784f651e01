"""orcac status"""

from __future__ import annotations

import json
from collections import Counter

import click

from orcac.cli.common import STYLES, opened, state
from orcac.plan.plan import Plan


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the states for a script.")
def command(as_json: bool) -> None:
    """Show how far the compiled plan is: what is done, what is being made, what failed and why.

    \b
    Example:
      orcac status
    """
    path, store = opened()
    plan = Plan.read(path)
    states = {ref: state(store, ref) for ref in plan.nodes}
    if as_json:
        errors = {ref: store.error(ref) for ref, state in states.items() if state == "failed"}
        click.echo(json.dumps({"states": states, "errors": errors}, indent=1))
        return
    kinds: dict[str, Counter[str]] = {}
    for ref, now in states.items():
        kinds.setdefault(ref.partition("/")[0], Counter())[now] += 1
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind")
    for name in STYLES:
        table.add_column(name, justify="right")
    for kind, counts in kinds.items():
        table.add_row(kind, *(f"[{STYLES[name]}]{counts[name]}[/]" if counts[name] else "" for name in STYLES))
    Console(highlight=False).print(table)
    for ref, now in states.items():
        if now in ("making", "failed", "started"):
            click.echo(f"{now}: {ref}  {plan.nodes[ref].label}")
        if now == "failed":
            click.echo("  " + str((store.error(ref) or {}).get("message", "")).replace("\n", "\n  "))
    done = sum(now == "done" for now in states.values())
    click.echo(f"{done} of {len(states)} nodes done")
