"""orcac push"""

from __future__ import annotations

import click

from orcac.cli.completion import SpecArm
from orcac.cli.transfer import Report, finish, select
from orcac.extras import explain_missing_package


@click.command("push")
@click.argument("place", metavar="STORE")
@click.argument("targets", nargs=-1, metavar="[SPEC[:ARM]]...", type=SpecArm())
@click.option("--only", type=click.Choice(["artifacts", "answers"]), help="Leave the others out.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(place: str, targets: tuple[str, ...], only: str | None, dry_run: bool, as_json: bool) -> int:
    """Send finished artifacts and recorded answers to another store: those of specs or arms, or all.

    STORE is a folder, or a URL that fsspec opens, such as s3://bucket/store. It is laid out as a store, so a study may
    name it as its `upstream`. What is there already is not sent again and never replaced, and a push that was cut short
    goes on when it is run again. Logs, leases and unfinished work stay here. With specs, the answers of their teachers
    are sent.

    Answers include the questions: push to places where both may be read. Keys are read from the environment.

    \b
    Example:
      orcac push /lab/store
      orcac push s3://lab/store specs/tiny.yaml
      orcac push /lab/store specs/tiny.yaml:no-assistant --only artifacts --dry-run
    """
    from orcac.remote.artifacts import find_to_push, push
    from orcac.remote.place import open_place
    from orcac.remote.transfer import Meter

    with explain_missing_package("a store at a URL"):
        there = open_place(place)
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
