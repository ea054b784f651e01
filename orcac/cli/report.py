"""orcac report"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from orcac.cli.collected import list_tables
from orcac.cli.common import compile_specs, warn_outdated
from orcac.cli.outcome import describe_outcome
from orcac.errors import OrcacError
from orcac.plan.plan import Plan
from orcac.store.store import Store
from orcac.study import find_study
from orcac.text import json_text


@click.command("report")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print every number of the reports as JSON.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Print the result tables of SPECS, the paths of their artifacts, and the commands that use these.

    \b
    Example:
      orcac report specs/tiny.yaml
      orcac report specs/tiny.yaml --json > results.json
    """
    plan, experiments = compile_specs(specs)
    store = find_study(specs).store
    if not all(store.is_done(ref) for item in plan.experiments.values() for ref in item.targets):
        warn_outdated(plan, experiments, store)
    show(plan, store, list(plan.experiments), as_json=as_json)


def show(plan: Plan, store: Store, names: Sequence[str], *, as_json: bool = False) -> None:
    """Print the table of each named experiment and the artifacts that exist, or with `as_json` all their numbers.

    A spec that only collects answers has no table. Raises OrcacError if the result of an experiment is not made yet.
    """
    reports = {name: ref for name in names if (ref := plan.experiments[name].report)}
    tables = {name: list_tables(plan, store, plan.experiments[name]) for name in names if name not in reports}
    if as_json:
        results: dict[str, object] = {
            name: json.loads(_results_path(store, ref).read_text(encoding="utf-8")) for name, ref in reports.items()
        }
        results |= {name: [asdict(one) for one in found] for name, found in tables.items()}
        click.echo(json_text(results))
        return
    for name in names:
        if name in reports:
            from orcac.report.results import read_json
            from orcac.report.table import WIDTH, format_table

            columns = shutil.get_terminal_size((WIDTH, 24)).columns
            click.echo(format_table(read_json(_results_path(store, reports[name])), columns) + "\n")
        click.echo("\n".join(describe_outcome(plan, store, name)))


def _results_path(store: Store, ref: str) -> Path:
    if not store.is_done(ref):
        raise OrcacError(
            f"{ref}: the report is not made yet", fix="make it with `orcac run`; `orcac status` shows its progress"
        )
    return store.verify(ref) / "results.json"
