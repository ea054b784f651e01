"""orcac results"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.cli.common import compile_specs
from orcac.cli.printing import print_table
from orcac.errors import InputError
from orcac.store.store import Store
from orcac.study import find_study
from orcac.text import clean

if TYPE_CHECKING:
    from orcac.report.across import Figure

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # beginnings of a cell that a spreadsheet would calculate
_SHOWN = ("score", "difference")  # metrics on a terminal
_IN_POINTS = "first slot against "  # the beginning of such a metric
_HEADERS = ("arm", "benchmark", "task", "run", "metric", "n", "%", "95 %", "vs base", "95 % ", "verdict")
_NUMBERS = _HEADERS[5:-1]


@click.command("results")
@click.argument("specs", nargs=-1, type=click.Path())
@click.option(
    "--where",
    "conditions",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="Keep only such figures: `arm=base`, `benchmark!=bbh`, `task=logical_*`. May be repeated.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print every figure as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON.")
@click.option(
    "--parquet", metavar="FILE", type=click.Path(path_type=Path), help="Write every figure to a Parquet file."
)
@click.option(
    "--svg", metavar="FILE", type=click.Path(path_type=Path), help="Draw the differences to the base into FILE."
)
def command(
    specs: tuple[str, ...],
    conditions: tuple[str, ...],
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
    svg: Path | None,
) -> None:
    """Print the figures of every report in the store and its upstream, or of those of SPECS, as one table.

    A row is one figure: of one study, arm, replicate, benchmark, task and metric. The terminal shows the scores and
    differences over all replicates and tasks; a condition on a column, or another form, gives the others.

    \b
    Example:
      orcac results
      orcac results specs/tiny.yaml --where metric=difference
      orcac results --where 'task=logical_*' --csv > tasks.csv
      orcac results specs/tiny.yaml --svg arms.svg
    """
    if as_csv + as_json + (parquet is not None) + (svg is not None) > 1:
        raise InputError("--csv, --json, --parquet and --svg: several forms", fix="give one of them")
    from orcac.report.across import COLUMNS, list_figures, read_conditions

    is_met = read_conditions(conditions)
    store = find_study(specs).store
    refs = _find_reports(store, specs)
    figures = list_figures(store, refs, lambda line: click.echo(f"warning: {clean(line)}", err=True))
    figures = [figure for figure in figures if is_met(figure)]
    if as_csv:
        click.echo(_format_csv(COLUMNS, figures), nl=False)
    elif as_json:
        click.echo(json.dumps([dataclasses.asdict(figure) for figure in figures], indent=1))
    elif parquet:
        _write_parquet(parquet, figures)
        click.echo(f"wrote {len(figures):,} figures to {parquet}")
    elif svg:
        if specs:
            figures.sort(key=lambda figure: refs.index(figure.report))
        _draw(svg, _select(figures, conditions))
    else:
        _print(figures, conditions)


def _find_reports(store: Store, specs: Sequence[str]) -> list[str]:
    """Return the finished reports (KIND/ID) of the specs, or of the store and its upstream."""
    if specs:
        plan, _ = compile_specs(specs)
        refs = [experiment.report for experiment in plan.experiments.values() if experiment.report]
        for ref in refs:
            if not store.is_done(ref):
                click.echo(f"{ref}: the report is not made yet; make it with `orcac run`", err=True)
    else:
        refs = store.list_finished("report")
    return [ref for ref in refs if store.is_done(ref)]


def _format_csv(columns: Sequence[str], figures: Sequence[Figure]) -> str:
    """Return the figures as CSV, in which no text is a formula or has control characters."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for figure in figures:
        writer.writerow([_format_cell(getattr(figure, column)) for column in columns])
    return file.getvalue()


def _format_cell(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    value = "".join(char if char.isprintable() else " " for char in value)
    return f"'{value}" if value.startswith(_FORMULA) else value


def _write_parquet(path: Path, figures: Sequence[Figure]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from orcac.report.across import Figure
    from orcac.store.durable import replacing_by_name

    types = {"str": pa.string(), "int | None": pa.int64(), "float | None": pa.float64()}
    shape = pa.schema([(field.name, types[str(field.type)]) for field in dataclasses.fields(Figure)])
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: there is no such folder", fix="make it, or name another file")
    with replacing_by_name(path) as part:
        pq.write_table(pa.Table.from_pylist([dataclasses.asdict(figure) for figure in figures], schema=shape), part)


def _draw(path: Path, figures: Sequence[Figure]) -> None:
    from orcac.report.forest import draw_forest, list_contrasts
    from orcac.store.durable import write_if_changed

    contrasts = list_contrasts(figures)
    if not contrasts:
        raise InputError("no finished report has a difference to draw", fix="see `orcac results` for what there is")
    title = ", ".join(dict.fromkeys(_one_line(figure.study) for figure in contrasts))
    try:
        write_if_changed(path, draw_forest(figures, title))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror})", fix="give the path of a file that you can write"
        ) from None
    click.echo(f"drew {len(contrasts):,} differences into {path}")


def _select(figures: Sequence[Figure], conditions: Sequence[str]) -> list[Figure]:
    """Return the scores and differences over all replicates and tasks, and others whose column has a condition."""
    named = _list_named(conditions)
    return [
        figure
        for figure in figures
        if (figure.metric in _SHOWN or "metric" in named)
        and (not figure.task or "task" in named)
        and (figure.replicate is None or "replicate" in named)
    ]


def _list_named(conditions: Sequence[str]) -> set[str]:
    """Return the columns of conditions."""
    return {condition.partition("=")[0].rstrip("! ") for condition in conditions}


def _print(figures: Sequence[Figure], conditions: Sequence[str]) -> None:
    """Print a table for each report, as wide as the terminal: a row for each score with its difference to the base."""
    from rich.console import Console
    from rich.table import Table

    if not figures:
        click.echo("no finished report has such a figure")
        return
    named, shown = _list_named(conditions), _select(figures, conditions)
    tables = dict[tuple[str, str], dict[tuple[object, ...], dict[str, str]]]()  # (study, report) -> rows by their keys
    for figure in shown:
        key = (figure.arm, figure.benchmark, figure.task, figure.replicate, "metric" in named and figure.metric)
        by_key = tables.setdefault((figure.study, figure.report), {})
        by_key.setdefault(key, {}).update(_describe(figure, with_metric="metric" in named))
    console = Console(highlight=False, markup=False)
    for (study, report), by_key in tables.items():
        table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
        rows = list(by_key.values())
        headers = [header for header in _HEADERS if any(row.get(header) for row in rows)]
        for header in headers:
            if header in _NUMBERS:
                table.add_column(header, justify="right", no_wrap=True)
            else:
                table.add_column(header, overflow="fold", no_wrap=header == "verdict")
        for row in rows:
            table.add_row(*(row.get(header, "") for header in headers))
        console.print(f"{_one_line(study)} ({report})")
        print_table(console, table)
        console.print()
    if more := len(figures) - len(shown):
        console.print(f"{more:,} further figures of tasks, replicates and other metrics: --where, --csv, --json")


def _describe(figure: Figure, *, with_metric: bool) -> dict[str, str]:
    """Return the cells of a figure by their headers. A difference has columns of its own, beside those of the score."""
    from orcac.report.table import VERDICTS
    from orcac.report.wording import interval, percent, points, points_interval
    from orcac.stats.intervals import Interval

    cells = {name: _one_line(getattr(figure, name)) for name in ("arm", "benchmark", "task")}
    cells |= {"run": "" if figure.replicate is None else str(figure.replicate)}
    cells |= {"metric": figure.metric if with_metric else ""}
    if (
        figure.metric == "difference"
        and figure.value is not None
        and figure.low is not None
        and figure.high is not None
    ):
        return cells | {
            "vs base": points(figure.value),
            "95 % ": points_interval(Interval(figure.low, figure.high)),
            "verdict": VERDICTS.get(figure.verdict) or figure.verdict,
        }
    between = "" if figure.low is None or figure.high is None else interval(Interval(figure.low, figure.high))
    value = {"%": percent(figure.value), "95 %": between}
    if figure.metric.startswith(_IN_POINTS) and figure.value is not None:  # of the judge's scale, not percent
        ends = "" if figure.low is None else f"{figure.low:+.2f} to {figure.high:+.2f}"
        value = {"%": f"{figure.value:+.2f} points", "95 %": ends}
    return cells | {"n": "" if figure.n is None else f"{figure.n:,}"} | value


def _one_line(text: str) -> str:
    return clean(text).replace("\n", " ")
