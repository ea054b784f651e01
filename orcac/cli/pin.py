"""orcac pin"""

from __future__ import annotations

from pathlib import Path

import click

from orcac.cli.common import compiled
from orcac.plan.lock import format_lock, lock_path, write_lock
from orcac.plan.plan import BASELINES


@click.command("pin")
@click.argument("specs", nargs=-1, required=True)
def command(specs: tuple[str, ...]) -> None:
    """Write the ids of every arm of SPECS into a lock beside each spec (tiny.yaml: tiny.lock).

    From then on `compile` and `run` refuse, with exit code 3, a change that would move a pinned id: they say which
    node moved and which field, data file or VERSION moved it. Pin again to accept it. New arms are free.

    \b
    Example:
      orcac pin specs/tiny.yaml && git add specs/tiny.lock
    """
    plan, _ = compiled(specs)
    for experiment in plan.experiments.values():
        path = lock_path(Path(experiment.spec))
        changed = write_lock(path, format_lock(plan, experiment))
        count = len({ref for addresses in experiment.addresses.values() for ref in addresses.values()})
        arms = len(experiment.arms.keys() - {BASELINES})
        of = f"{count} nodes of {arms} arm{'s' * (arms != 1)}"
        click.echo(f"{path} {'written' if changed else 'unchanged'}: {of} pinned")
