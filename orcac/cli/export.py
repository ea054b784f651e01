"""orcac export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.cli.common import compile_specs, split_target, unknown_arm, warn_outdated
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
@click.option("--push", metavar="OWNER/NAME", help="Push the folder to this repository on a Hugging Face hub.")
@click.option("--public", is_flag=True, help="push: make a new repository public, or push to one that is.")
@click.option("--json", "as_json", is_flag=True, help="Print the folder, its artifact and its page as JSON.")
def command(
    target: str,
    folder: Path,
    dataset: str | None,
    form: Form,
    rejected: bool,
    run: int,
    push: str | None,
    public: bool,
    as_json: bool,
) -> None:
    """Write a student, or with --dataset a dataset, to a folder, with its card.

    The student of an arm becomes an ordinary Hugging Face model folder, DIR. With --dataset, the kept answers of a
    dataset are written instead: as Parquet and JSON Lines in the form of `messages`, which
    `datasets.load_dataset("DIR")` loads.

    A card lists the data, its making and the known figures; add the licence yourself. Without ARM it is the spec's
    base. DIR must not exist yet.

    With --push the folder is then pushed to a repository, which is private if it is new. A folder that was exported
    before is pushed as it is, so that you can add to its card, and a push that was cut short goes on. The token is
    HF_TOKEN, or the one that `hf auth login` stored.

    \b
    Example:
      orcac export specs/tiny.yaml student
      orcac export specs/tiny.yaml:no-assistant student-without
      orcac export --dataset expert-1000 specs/tiny.yaml data
      orcac export --dataset expert-1000 --form openorca --rejected specs/tiny.yaml data-with-reasons
      orcac export --dataset expert-1000 specs/tiny.yaml data --push me/expert-1000
    """
    if public and not push:
        raise InputError("--public is about a push", fix="add `--push OWNER/NAME`, or leave it out")
    if dataset is None and (rejected or form != "messages"):
        raise InputError("a student has no rows", fix="add `--dataset NAME`, or leave out --form and --rejected")
    spec, named = split_target(target)
    arm = BASE if named is None else named
    plan, (experiment,) = compile_specs([spec])
    if arm not in experiment.arms:
        raise unknown_arm(experiment, arm)
    store = find_study([spec]).store
    described = experiment.base.spec
    if not all(map(store.is_done, plan.experiments[described.name].arms[arm])):
        warn_outdated(plan, [experiment], store)
    from orcac.publish.push import check_pushed, parse_repository
    from orcac.publish.push import push as push_folder

    repository = parse_repository(push) if push else None
    is_kept = bool(push) and folder.exists()
    if dataset is not None:
        from orcac.publish.dataset.export import export_dataset, find_dataset

        own = experiment.arms[arm].spec
        if is_kept:
            ref = find_dataset(plan, own, arm, dataset, run).filter
        else:
            ref = export_dataset(
                plan, store, spec=own, arm=arm, name=dataset, run=run, form=form, with_rejected=rejected, out=folder
            )
        what = f"the rows of {ref}, with their card in README.md"
    else:
        from orcac.publish.export import export, find_trained

        if is_kept:
            ref = find_trained(plan, spec=described.name, arm=arm, run=run)[1].stages[-1].train
        else:
            ref = export(plan, store, spec=described.name, arm=arm, run=run, about=described.about, out=folder)
        what = f"the student of {ref}, with its card in README.md"
    if is_kept:
        check_pushed(folder, ref)
    if not as_json:
        click.echo(clean(f"{folder}: {what}" + (", from an earlier export" if is_kept else "")))
    page = push_folder(folder, repository, "dataset" if dataset else "model", is_public=public) if repository else ""
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "artifact": ref} | ({"page": page} if page else {})))
    elif page:
        click.echo(clean(f"pushed to {page}"))
