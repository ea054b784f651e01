"""orcac pin"""

from __future__ import annotations

from pathlib import Path

import click

from orcac.cli.common import compile_specs
from orcac.plan.lock import format_lock, lock_path, write_lock
from orcac.plan.plan import BASELINES
from orcac.plan.upgrade import find_older, keep
from orcac.study import find_study


@click.command("pin")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--keep", "keeps", is_flag=True, help="Pin finished artifacts even if an older VERSION made them.")
def command(specs: tuple[str, ...], keeps: bool) -> None:
    """Write the ids of every arm of SPECS into a lock beside each spec (tiny.yaml: tiny.lock).

    From then on `compile` and `run` refuse, with exit code 3, a change that would move a pinned id: they name the node
    and the field, data file or VERSION that moved it. Pin again to accept the change. New arms are free.

    A finished artifact that is pinned is kept when a new orcac would make it in another way. With --keep such
    artifacts can be pinned after an upgrade as well; without it the ids of today's VERSIONs are pinned. Answers of
    baselines that were asked with another sampling than the benchmark's cannot be kept: they are asked anew.

    \b
    Example:
      orcac pin specs/tiny.yaml && git add specs/tiny.lock
      orcac pin --keep specs/tiny.yaml       after an upgrade: remake nothing that is finished
    """
    plan, _ = compile_specs(specs, pinned=keeps)
    if keeps:
        store = find_study(specs).store
        plan = keep(plan, dict.fromkeys(plan.experiments, find_older(plan, store)), store)
    for experiment in plan.experiments.values():
        path = lock_path(Path(experiment.spec))
        changed = write_lock(path, format_lock(plan, experiment))
        count = len({ref for addresses in experiment.addresses.values() for ref in addresses.values()})
        arms = len(experiment.arms.keys() - {BASELINES})
        of = f"{count} nodes of {arms} arm{'s' * (arms != 1)}"
        click.echo(f"{path} {'written' if changed else 'unchanged'}: {of} pinned")
