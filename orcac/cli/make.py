"""orcac make"""

from __future__ import annotations

import re

import click

from orcac.cli.common import opened
from orcac.errors import InputError
from orcac.plan.plan import Plan


@click.command("make")
@click.argument("node")
@click.option("--shard", metavar="I-of-N", help="Of a collect node: ask this part of its prompts only.")
def command(node: str, shard: str | None) -> None:
    """Make NODE (KIND/ID as `orcac plan` lists it), whose inputs must be made. This is what every rule calls.

    \b
    Example:
      orcac make train/0f3a5c19d2b8e4f60711
    """
    from orcac.make import make, make_shard

    path, store = opened()
    plan = Plan.read(path)
    if shard is None:
        if not make(plan, store, node):
            click.echo(f"{node} is made already", err=True)
        return
    found = re.fullmatch(r"(\d+)-of-(\d+)", shard)
    if not found:
        raise InputError(f"--shard {shard}: not a shard", fix="write it as 3-of-8")
    make_shard(plan, store, node, int(found[1]) - 1, int(found[2]))
