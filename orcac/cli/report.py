"""orcac report"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from orcac.cli.common import compile_specs, warn_outdated
from orcac.errors import OrcacError
from orcac.plan.plan import Plan
from orcac.store.store import Store
from orcac.study import find_study


@click.command("report")
@click.argument("specs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print every number of the reports as JSON.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Print the result tables of SPECS and the paths of their reports.

    \b
    Example:
      orcac report specs/tiny.yaml
      orcac report specs/tiny.yaml --json > results.json
    """
    plan, experiments = compile_specs(specs)
    store = find_study(specs).store
    if not all(store.is_done(item.report) for item in plan.experiments.values()):
        warn_outdated(plan, experiments, store)
    show(plan, store, list(plan.experiments), as_json=as_json)


def show(plan: Plan, store: Store, names: Sequence[str], *, as_json: bool = False) -> None:
    """Print the table of each named experiment and the path of its page, or with `as_json` all their numbers."""
    if as_json:
        paths = {name: _results_path(store, plan.experiments[name].report) for name in names}
        results = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items()}
        click.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    from orcac.report.results import read_json
    from orcac.report.table import format_table

    for name in names:
        ref = plan.experiments[name].report
        click.echo(format_table(read_json(_results_path(store, ref))))
        click.echo(f"\nreport: {store.folder(ref) / 'report.html'}")


def _results_path(store: Store, ref: str) -> Path:
    if not store.is_done(ref):
        raise OrcacError(
            f"{ref}: the report is not made yet", fix="make it with `orcac run`; `orcac status` shows its progress"
        )
    return store.verify(ref) / "results.json"
