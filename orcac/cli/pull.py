"""orcac pull"""

from __future__ import annotations

import click

from orcac.cli.completion import SpecArm
from orcac.cli.transfer import Report, finish, select
from orcac.extras import explain_missing_package


@click.command("pull")
@click.argument("place", metavar="STORE")
@click.argument("targets", nargs=-1, metavar="[SPEC[:ARM]]...", type=SpecArm())
@click.option("--only", type=click.Choice(["artifacts", "answers"]), help="Leave the others out.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be fetched, and write nothing into the store.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(place: str, targets: tuple[str, ...], only: str | None, dry_run: bool, as_json: bool) -> int:
    """Fetch finished artifacts and recorded answers from another store: those of specs or arms, or all.

    STORE is a folder, or a URL that fsspec opens, such as s3://bucket/store. Nothing in it is trusted: an artifact must
    have the id of its recipe and its files the recorded digests, and an answer the key of its question. The others are
    named and refused (exit code 1). What is here already is not fetched again and never replaced, and a pull that was
    cut short goes on when it is run again.

    \b
    Example:
      orcac pull /lab/store specs/tiny.yaml
      orcac pull s3://lab/store --only answers
      orcac pull s3://lab/store specs/tiny.yaml --dry-run
    """
    from orcac.remote.artifacts import find_to_pull, list_refs, pull
    from orcac.remote.place import open_place, require_store
    from orcac.remote.transfer import Meter

    with explain_missing_package("a store at a URL"):
        there = open_place(place)
        require_store(there)
    selection = select(targets)
    store = selection.study.store.own
    report = Report("pulled", f"from {there.label}", dry_run)
    if not dry_run:
        store.check_writable()
    if only != "answers":
        refs = list_refs(there) if selection.refs is None else selection.refs
        found = report.found = find_to_pull(store, there, refs)
        if not dry_run:
            meter = Meter(f"pull from {there.label}", found.bytes, quiet=as_json)
            finish(report, lambda: pull(store, there, list(found.sizes), meter.add), found)
    if only != "artifacts":
        from orcac.remote.answers import pull_answers
        from orcac.remote.mirror import find_folder

        staging = find_folder(selection.study.plan, there.label) / "pulled"
        report.counts = pull_answers(store.answers, there, selection.keeps, staging, dry_run=dry_run)
    return report.show(as_json=as_json)
