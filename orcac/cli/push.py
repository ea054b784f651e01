"""orcac push"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orcac.cli.common import compile_specs, split_target
from orcac.cli.completion import SpecArm
from orcac.cli.transfer import Report, finish, select
from orcac.errors import InputError
from orcac.extras import explain_missing_package
from orcac.study import find_study
from orcac.text import clean, json_text, size

if TYPE_CHECKING:
    from orcac.remote.place import Place


@click.command("push")
@click.argument("place", metavar="STORE")
@click.argument("targets", nargs=-1, metavar="[SPEC[:ARM]]...", type=SpecArm())
@click.option("--only", type=click.Choice(["artifacts", "answers"]), help="Leave the others out.")
@click.option("--archive", is_flag=True, help="Send the archive of SPEC: records, scores, answers, report; no weights.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(place: str, targets: tuple[str, ...], only: str | None, archive: bool, dry_run: bool, as_json: bool) -> int:
    """Send finished artifacts and recorded answers to another store: those of specs or arms, or all.

    STORE is a folder, or a URL that fsspec opens, such as s3://bucket/store. It is laid out as a store, so a study may
    name it as its `upstream`. What is there already is not sent again and never replaced, and a push that was cut short
    goes on when it is run again. Logs, leases and unfinished work stay here. With specs, the answers of their teachers
    are sent.

    Answers include the questions: push to places where both may be read. Keys are read from the environment.

    With --archive, STORE gets a few small files in place of artifacts, which `orcac reproduce` compares a replay with:
    the record of each node, every scored answer, the report, and the answers that the study asked for.

    \b
    Example:
      orcac push /lab/store
      orcac push s3://lab/store specs/tiny.yaml
      orcac push /lab/store specs/tiny.yaml:no-assistant --only artifacts --dry-run
      orcac push docs/study/tiny specs/tiny.yaml --archive
    """
    from orcac.remote.artifacts import find_to_push, push
    from orcac.remote.place import open_place
    from orcac.remote.transfer import Meter

    with explain_missing_package("a store at a URL"):
        there = open_place(place)
    if archive:
        return _push_archive(there, targets, only, dry_run=dry_run, as_json=as_json)
    selection = select(targets)
    store = selection.study.store.own
    report = Report("pushed", f"to {there.label}", dry_run)
    if only != "answers":
        refs = store.refs() if selection.refs is None else selection.refs
        found = report.found = find_to_push(store, there, refs)
        if not dry_run:
            meter = Meter(f"push to {there.label}", found.bytes, quiet=as_json)
            finish(report, lambda: push(store, there, list(found.sizes), meter.add), found)
    if only != "artifacts":
        from orcac.remote.answers import push_answers

        report.counts = push_answers(store.answers, there, selection.keeps, dry_run=dry_run)
    return report.show(as_json=as_json)


def _push_archive(place: Place, targets: Sequence[str], only: str | None, *, dry_run: bool, as_json: bool) -> int:
    """Write the archive of one spec, and print its numbers and its size."""
    from orcac.remote.archive import write_archive

    if len(targets) != 1 or split_target(targets[0])[1] is not None or only:
        fix = "give one spec, as in `orcac push docs/study/tiny specs/tiny.yaml --archive`"
        raise InputError("--archive is of all arms of one spec, with its answers", fix=fix)
    plan, _ = compile_specs(targets)
    written = write_archive(plan, find_study(targets).store, place, dry_run=dry_run)
    if as_json:
        click.echo(json_text({"place": place.label, "dry_run": dry_run} | asdict(written)))
        return 0
    if written.unanswered:
        click.echo(
            f"warning: {written.unanswered:,} questions have no recorded answer here, so a replay ends at them",
            err=True,
        )
    click.echo(
        f"{'would be ' * dry_run}archived to {clean(place.label)}: {written.nodes:,} records, "
        f"{written.scores:,} scores, {written.answers:,} answers ({size(sum(written.files.values()))})"
    )
    return 0
