"""orcac export"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.cli.common import compile_specs, unknown_arm, warn_outdated
from orcac.cli.completion import SpecArm
from orcac.errors import InputError
from orcac.spec.arms import BASE
from orcac.study import find_study
from orcac.text import clean

if TYPE_CHECKING:
    from orcac.publish.dataset.columns import Form


@click.command("export")
@click.argument("target", metavar="SPEC[:ARM]", type=SpecArm())
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Export this dataset of the spec instead of the student.")
@click.option(
    "--form",
    type=click.Choice(["messages", "openorca"]),
    default="messages",
    show_default=True,
    help="Columns of a dataset: conversations, or the columns of OpenOrca.",
)
@click.option(
    "--rejected", is_flag=True, help="Also write the rows that filters dropped, as a split with their reasons."
)
@click.option("--run", default=1, show_default=True, help="The number of one of the arm's runs, or draws of its data.")
def command(target: str, folder: Path, dataset: str | None, form: Form, rejected: bool, run: int) -> None:
    """Write a student, or with --dataset a dataset, to a folder, with its card.

    The student of an arm becomes an ordinary Hugging Face model folder, DIR. With --dataset, the kept answers of a
    dataset are written instead: as Parquet and JSON Lines in the form of `messages`, which
    `datasets.load_dataset("DIR")` loads.

    A card lists the data, its making and the known figures; add the licence yourself. Without ARM it is the spec's
    base. DIR must not exist yet.

    \b
    Example:
      orcac export specs/tiny.yaml student
      orcac export specs/tiny.yaml:no-assistant student-without
      orcac export --dataset expert-1000 specs/tiny.yaml data
      orcac export --dataset expert-1000 --form openorca --rejected specs/tiny.yaml data-with-reasons
    """
    if dataset is None and (rejected or form != "messages"):
        raise InputError("a student has no rows", fix="add `--dataset NAME`, or leave out --form and --rejected")
    head, _, arm = target.rpartition(":")
    spec, arm = (target, BASE) if Path(target).exists() or not head else (head, arm)
    plan, (experiment,) = compile_specs([spec])
    if arm not in experiment.arms:
        raise unknown_arm(experiment, arm)
    store = find_study([spec]).store
    described = experiment.base.spec
    if not all(map(store.is_done, plan.experiments[described.name].arms[arm])):
        warn_outdated(plan, [experiment], store)
    if dataset is not None:
        from orcac.publish.dataset.export import export_dataset

        own = experiment.arms[arm].spec
        ref = export_dataset(
            plan, store, spec=own, arm=arm, name=dataset, run=run, form=form, with_rejected=rejected, out=folder
        )
        click.echo(clean(f"{folder}: the rows of {ref}, with their card in README.md"))
        return
    from orcac.publish.export import export

    ref = export(plan, store, spec=described.name, arm=arm, run=run, about=described.about, out=folder)
    click.echo(clean(f"{folder}: the student of {ref}, with its card in README.md"))
