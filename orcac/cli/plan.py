"""orcac plan"""

from __future__ import annotations

import json

import click

from orcac.cli.common import STYLES, compiled, opened
from orcac.plan.state import read_state


@click.command("plan")
@click.argument("specs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the nodes for a script.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Show every node of SPECS: its state, and which arms need it. Nothing is written.

    \b
    Example:
      orcac plan specs/tiny.yaml
    """
    plan, _ = compiled(specs)
    _, store = opened()
    rows = [
        {
            "ref": ref,
            "label": node.label,
            "state": read_state(store, node).name,
            "arms": plan.users(ref),
            "inputs": list(node.needs),
        }
        for ref, node in plan.nodes.items()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("node", "what", "state", "arms"):
        table.add_column(column, overflow="fold")
    arms = {f"{name}:{arm}" for name, item in plan.experiments.items() for arm in item.arms}
    for row in rows:
        users = row["arms"]
        if set(users) == arms:
            shown = "all"
        elif len(plan.experiments) == 1:
            shown = ", ".join(user.partition(":")[2] for user in users)
        else:
            shown = ", ".join(users)
        kind, _, number = str(row["ref"]).partition("/")
        style = STYLES[str(row["state"])]
        table.add_row(f"{kind}/{number[:8]}", escape(str(row["label"])), f"[{style}]{row['state']}[/]", shown)
    Console(highlight=False).print(table)
    todo = sum(row["state"] != "done" for row in rows)
    click.echo(f"{len(rows)} nodes, {todo} to make")
