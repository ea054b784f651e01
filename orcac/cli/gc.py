"""orcac gc"""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from orcac.cli.common import compile_specs
from orcac.cli.printing import print_table
from orcac.errors import InputError
from orcac.plan.reasked import list_earlier_replies
from orcac.plan.upgrade import find_older, find_unreplaced
from orcac.sample.recipe import SampleRecipe
from orcac.store.garbage import Item, find, remove
from orcac.study import find_study
from orcac.text import clean, json_text, size


@click.command("gc")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--delete", is_flag=True, help="Remove the listed items; without it nothing is touched.")
@click.option("--json", "as_json", is_flag=True, help="Print the items as JSON.")
def command(specs: tuple[str, ...], delete: bool, as_json: bool) -> None:
    """List, or remove, artifacts that none of SPECS needs, and the leftovers of killed runs.

    Name every spec whose artifacts you want to keep, and those that are running: nothing is removed while a node is
    being made that none of them needs. All answers of teachers stay: they were paid for. Artifacts of SPECS that an
    older VERSION made, or that hold a baseline's answers at another sampling, stay until new ones have replaced them.

    \b
    Example:
      orcac gc specs/tiny.yaml specs/smoke.yaml
      orcac gc specs/tiny.yaml specs/smoke.yaml --delete
    """
    plan, experiments = compile_specs(specs)
    for node in plan.nodes.values():
        if isinstance(node.recipe, SampleRecipe) and node.recipe.source and node.recipe.source.absent:
            raise InputError(
                f"{node.blockers[0]}: nodes made from it have other ids here than on a machine with its files",
                fix="run gc on a machine that has every file that the specs name",
            )
    store = find_study(specs).store.own
    needed = plan.nodes.keys() | find_unreplaced(plan, find_older(plan, store), store)
    for one in list_earlier_replies(plan, experiments):
        if not store.is_done(one.ref):
            needed |= {node.ref for node in one.nodes}
    found = find(store, needed)
    others = [ref for ref in found.in_use if ref not in plan.nodes]
    if others and delete:
        raise InputError(
            f"{others[0]} is being made now, and no given spec needs it: its inputs would be removed",
            fix="name its spec as well, or wait until it is done",
        )
    removed = [item for item in found.items if remove(store, item)] if delete else []
    if as_json:
        items = [_as_json(item) | {"removed": item in removed} for item in found.items]
        click.echo(json_text({"items": items, "held": found.in_use}))
        return
    shown = removed if delete else found.items
    if shown:
        _show(shown)
    for ref in found.in_use:
        click.echo(f"{ref} is being made now and stays", err=True)
    if others:
        click.echo(f"  no given spec needs {others[0]}: its inputs may be in the list; name its spec as well", err=True)
    total = size(sum(item.bytes for item in shown))
    if delete:
        left = len(found.items) - len(removed)
        click.echo(f"{total} removed" + (f"; {left} items are left, since they changed meanwhile" if left else ""))
    elif shown:
        click.echo(f"{total} to remove: `orcac gc {' '.join(specs)} --delete` does it")
    else:
        click.echo("nothing to remove")


def _as_json(item: Item) -> dict[str, Any]:
    return {
        "what": item.category,
        "ref": item.ref,
        "label": item.label,
        "path": str(item.path),
        "bytes": item.bytes,
    }


def _show(items: list[Item]) -> None:
    """Print the items, the largest first, then the sums of each category."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("node", overflow="fold")
    table.add_column("made")
    sums: Counter[str] = Counter()
    for item in sorted(items, key=lambda item: -item.bytes):
        name = item.ref if item.category != "stray" else f"{item.ref}/{item.path.name}"
        table.add_row(size(item.bytes), item.category, Text(clean(name)), Text(clean(item.label)))
        sums[item.category] += item.bytes
    print_table(Console(highlight=False), table)
    click.echo(", ".join(f"{what} {size(count)}" for what, count in sums.items()))
