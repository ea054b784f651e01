"""orcac export"""

from __future__ import annotations

from pathlib import Path

import click

from orcac.cli.common import compiled, opened, plain
from orcac.errors import InputError
from orcac.spec.arms import BASE


@click.command("export")
@click.argument("what", metavar="SPEC[:ARM]")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(what: str, folder: Path) -> None:
    """Write the student of an arm to DIR: an ordinary Hugging Face model folder, with a model card.

    The card says how it was trained and on what, and the scores that are known; the licence is yours to add. Without
    ARM it is the spec's base. DIR must not be there yet.

    \b
    Example:
      orcac export specs/tiny.yaml student
      orcac export specs/tiny.yaml:no-assistant student-without
    """
    from orcac.publish.export import export

    head, _, arm = what.rpartition(":")
    spec, arm = (what, BASE) if Path(what).exists() or not head else (head, arm)
    plan, (experiment,) = compiled([spec])
    if arm not in experiment.arms:
        raise InputError(f"{spec}: no arm `{arm}`", fix=f"its arms: {', '.join(experiment.arms)}")
    _, store = opened()
    described = experiment.base.spec
    ref = export(plan, store, spec=described.name, arm=arm, about=described.about, out=folder)
    click.echo(plain(f"{folder}: the student of {ref}, with its card in README.md"))
