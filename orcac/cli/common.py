"""What several commands share: compile specs, open the store, say a node's state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from orcac.plan.lock import check_pins, lock_path
from orcac.plan.lower import lower
from orcac.plan.plan import Plan, default_path
from orcac.spec.load import Experiment, load
from orcac.spec.problems import Problem
from orcac.store import Store, is_leased

STYLES = {"done": "green", "making": "cyan", "failed": "red", "started": "yellow", "to do": "dim"}


def compiled(specs: Sequence[str]) -> tuple[Plan, list[Experiment]]:
    """Load and lower specs into one plan, which is not written yet."""
    plan, experiments = Plan(), [load(Path(spec)) for spec in specs]
    for experiment in experiments:
        lower(plan, experiment)
        for name, why in experiment.base.left_out.items():
            click.echo(f"{experiment.file}: benchmark `{name}` is left out: {why}", err=True)
        alike: dict[tuple[str, ...], str] = {}
        for arm, refs in plan.experiments[experiment.base.spec.name].arms.items():
            first = alike.setdefault(tuple(refs), arm)
            if first != arm:
                what = f"warning: the arm `{arm}` makes nothing else than `{first}`"
                click.echo(str(Problem(experiment.arms[arm].mark, what)), err=True)
    return plan, experiments


def held(plan: Plan) -> None:
    """Raises PinError where a lock beside one of the specs pins an id that moved."""
    for experiment in plan.experiments.values():
        check_pins(plan, experiment, lock_path(Path(experiment.spec)))


def opened() -> tuple[Path, Store]:
    """The plan's path and the store."""
    return default_path(), Store.default()


def state(store: Store, ref: str) -> str:
    """done, making (somebody holds it), failed (the last try did), started (a try left progress), to do."""
    if store.is_done(ref):
        return "done"
    if is_leased(store.folder(ref)):
        return "making"
    if store.error(ref):
        return "failed"
    return "started" if store.is_started(ref) else "to do"
