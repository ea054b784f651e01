"""orcac cost"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from orcac import text
from orcac.cli.common import compile_specs, describe_upstream, warn_short_stages
from orcac.cli.detectable import plan_comparisons
from orcac.cli.upstream import look_upstream
from orcac.cost import figures, memory, priors
from orcac.cost.bill import FIGURES, Cost, price_flow, total_cost
from orcac.cost.detectable import PlannedComparison, format_points
from orcac.cost.figures import Range
from orcac.cost.flow import Flow
from orcac.cost.reasked import describe_reasked
from orcac.plan.plan import Experiment, Plan
from orcac.plan.replicates import count_runs, strip_mark
from orcac.spec.load import BASE
from orcac.store.store import Store
from orcac.study import find_study
from orcac.text import clean, json_text

_SHOWN = ("usd_spec", "gpu_hours", "seconds", "disk")  # an assumption that moves one of these gets a line
_PRIORS = tuple(prior.name for prior in vars(priors).values() if isinstance(prior, priors.Prior))
_WIDTHS = (20, 7, 7, 7, 8, 8, 7, 9, 7)


@click.command("cost")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, node by node.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Price SPECS before anything runs: requests, tokens, dollars, GPU hours, time, disk.

    Finished nodes and recorded answers are free. Each arm is priced by its additions to the base.

    \b
    Example:
      orcac cost specs/orca-13b.yaml
      orcac cost specs/tiny.yaml --json
    """
    plan, experiments = compile_specs(specs)
    study = find_study(specs)
    store = study.store
    look_upstream(plan, study)
    flow = Flow(plan, store)
    costs = price_flow(flow)
    reasked = describe_reasked(plan, experiments, store, costs)
    if as_json:
        values = _as_json(plan, store, costs) | {"asked_again": [line.strip() for line in reasked]}
        click.echo(json_text(values))
        return
    for line in reasked:
        _wrap(clean(line))
    for line in describe_upstream(plan, study):
        _wrap(clean(line))
    lines = warn_short_stages(plan, experiments, store)
    for experiment in plan.experiments.values():
        _show(plan, store, costs, experiment, plan_comparisons(flow, experiment))
    if len(plan.experiments) > 1:
        click.secho("\n" + _line("all specs", total_cost(plan, costs, list(plan.nodes))), bold=True)
    if lines:
        click.secho("\nOptimizer steps", bold=True)
    for line in lines:
        _wrap(clean(line), indent="  ")


def _show(
    plan: Plan,
    store: Store,
    costs: dict[str, Cost],
    experiment: Experiment,
    comparisons: Sequence[PlannedComparison],
) -> None:
    base = _list_base(experiment)
    todo = sum(costs[ref].seconds.mid > 0 for ref in base)
    click.secho(f"\n{experiment.spec}: {todo} of the base's {len(base)} nodes to make", bold=True)
    heads = ("", "asks", "reads", "writes", "USD", "batch", "GPU h", "time", "disk")
    click.secho("".join(head.rjust(width) for head, width in zip(heads, _WIDTHS, strict=True)), dim=True)
    for name, refs in _groups(plan, experiment, base).items():
        if any(costs[ref].seconds.mid for ref in refs):
            click.echo(_line(name, total_cost(plan, costs, refs)))
    whole = total_cost(plan, costs, base)
    click.secho(_line("base, in all", whole), bold=True)
    arms = {name: refs for name, refs in experiment.arms.items() if name != BASE}
    for name, refs in arms.items():
        runs = count_runs(experiment.addresses[name])
        click.echo(_line(f"+ {name} × {runs}" if runs > 1 else f"+ {name}", total_cost(plan, costs, refs, paid=base)))
    shown = {"base": whole}
    if arms:
        refs = [*experiment.targets, *(ref for refs in experiment.arms.values() for ref in refs)]
        shown["all arms"] = total_cost(plan, costs, refs)
        click.secho(_line("all arms", shown["all arms"]), bold=True)
    _show_ranges(shown)
    _show_power(comparisons)
    _show_memory(plan, store, experiment)
    _show_basis(whole)


def _list_base(experiment: Experiment) -> list[str]:
    """Return the nodes (KIND/ID) that the base needs, with the report if there is one."""
    return [*experiment.arms[BASE], *([experiment.report] if experiment.report else [])]


def _show_ranges(shown: dict[str, Cost]) -> None:
    columns = [_ranges(cost) for cost in shown.values()]
    click.secho("\n" + "".join([" " * 12, *(name.ljust(34) for name in shown)]).rstrip(), dim=True)
    for name in columns[0]:
        if all(column[name] == "-" for column in columns):
            continue
        click.echo((name.ljust(12) + "".join(column[name].ljust(34) for column in columns)).rstrip())
    _wrap(
        "Time is the longest chain: a node starts when its inputs are made, nodes that ask one account run one after "
        "another, and machines are always free. Shared tokens and dollars are counted once."
    )


def _show_power(comparisons: Sequence[PlannedComparison]) -> None:
    """Print the smallest difference that each benchmark could show, one line for all arms of which it is the same."""
    arms: dict[tuple[str, str], list[str]] = {}
    for one in comparisons:
        arms.setdefault((one.benchmark, format_points(one.shown)), []).append(one.arm)
    if not arms:
        return
    click.secho("\nSmallest difference that 4 of 5 such studies would show, points", bold=True)
    for (benchmark, figure), names in arms.items():
        others = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        click.echo(f"{benchmark:<20} {figure:<14} {others}".rstrip())


def _show_memory(plan: Plan, store: Store, experiment: Experiment) -> None:
    """Print the memory of each stage's processes, one line for all stages that need the same, the base's first."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for arm, refs in experiment.arms.items():
        for ref in refs:
            if not ref.startswith("train/") or not (stage := memory.find_stage(plan, store, ref)):
                continue
            needed, room = stage.memory(), memory.gpu_memory(stage.execution)
            cells = [memory.gib(value) if value else "-" for value in (*needed[:-1], needed.total)]
            where = f" of {memory.gib(room)}" if room else ""
            unfit = room is not None and needed.total > room
            lines.setdefault((*cells, where, memory.describe_fix(stage) if unfit else ""), []).append(arm)
    if not lines:
        return
    heads = ("weights", "gradients", "optimizer", "buffers", "activations", "runtime", "in all")
    widths = (8, 10, 10, 8, 12, 8, 7)
    click.secho("\nMemory of each process of a stage, GiB", bold=True)
    click.secho(" " * 10 + "".join(map(str.rjust, heads, widths)), dim=True)
    for (*cells, where, fix), arms in lines.items():
        others = len(set(arms)) - 1
        name = "base" if BASE in arms else f"+ {arms[0]}{f' and {others} more' if others else ''}"
        row = "".join(map(str.rjust, cells, widths)) + where
        click.echo((name.ljust(10) if len(name) <= 10 else f"{name}\n{' ' * 10}") + row)
        if fix:
            click.secho(f"  does not fit; {fix}", fg="red")


def _ranges(cost: Cost) -> dict[str, str]:
    return {
        name: figures.format_range(figure, show) if figure.mid else "-"
        for name, figure, show in (
            ("teachers", cost.usd_spec, partial(text.dollars, digits=2)),
            ("GPU hours", cost.gpu_hours, text.hours),
            ("GPUs", cost.gpu_usd, partial(text.dollars, digits=2)),
            ("time", cost.seconds, text.duration),
            ("disk", cost.disk, text.size),
        )
    }


def _groups(plan: Plan, experiment: Experiment, refs: list[str]) -> dict[str, list[str]]:
    """Return the nodes of each line: one for each dataset and each stage, and one for all others of a kind."""
    names = {ref: strip_mark(address) for address, ref in experiment.addresses[BASE].items()}
    groups: dict[str, list[str]] = {}
    for ref in refs:
        part, _, name = names.get(ref, ref).partition("/")
        kind = plan.nodes[ref].kind
        line = f"{kind} {name}" if part in ("collect", "train") else "replies" if part == "replies" else kind
        groups.setdefault(line, []).append(ref)
    own = ("collect", "train")
    groups = {
        f"{line} × {len(refs)}" if line.partition(" ")[0] in own and len(refs) > 1 else line: refs
        for line, refs in groups.items()
    }
    return dict(sorted(groups.items(), key=lambda item: (item[0].partition(" ")[0] not in own, 0)))


def _line(name: str, cost: Cost) -> str:
    cells = [
        _short(cost.requests, text.short_count),
        _short(cost.input_tokens, text.short_count),
        _short(cost.output_tokens, text.short_count),
        _short(cost.usd, lambda usd: text.dollars(usd, 2).removesuffix(" USD")),
        _short(cost.usd_batch, lambda usd: text.dollars(usd, 2).removesuffix(" USD")),
        _short(cost.gpu_hours, lambda hours: text.hours(hours).removesuffix(" h")),
        _short(cost.seconds, text.duration),
        _short(cost.disk, text.size),
    ]
    row = "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS[1:], strict=True))
    most = _WIDTHS[0]
    if len(name) > most:  # a long name gets a line of its own
        return f"{name}\n{' ' * most}{row}"
    return name.ljust(most) + row


def _short(figure: Range, show: Any) -> str:
    return str(show(figure.mid)) if figure.mid else "-"


def _show_basis(cost: Cost) -> None:
    """Print the assumptions that move a total, the strongest first, then the remarks without a figure."""
    moves: dict[str, float] = {}
    for name in _SHOWN:
        for unknown, ends in getattr(cost, name).spread.items():
            moves[unknown] = max(moves.get(unknown, 0.0), *map(abs, ends))
    lines, facts = [], []
    for why in cost.basis:
        unknown = max((name for name in moves if why.startswith(name)), key=len, default="")
        if unknown and moves[unknown] >= 0.01:
            lines.append((moves[unknown], why))
        elif not unknown and not why.startswith(_PRIORS):
            facts.append(why)
    if lines or facts:
        click.secho("\nAssumptions of the base, and how far each moves one of its totals", bold=True)
    for move, why in sorted(lines, key=lambda line: -line[0]):
        _wrap(f"{math.expm1(move):>5.0%}  {why}", indent="       ")
    for why in facts:
        _wrap(f"       {why}", indent="       ")


def _wrap(text: str, indent: str = "") -> None:
    click.echo("\n".join(textwrap.wrap(text, 80, subsequent_indent=indent, drop_whitespace=True)))


def _as_json(plan: Plan, store: Store, costs: dict[str, Cost]) -> dict[str, Any]:
    experiments = {}
    for name, experiment in plan.experiments.items():
        base = _list_base(experiment)
        experiments[name] = {
            "spec": experiment.spec,
            "base": _figures(total_cost(plan, costs, base)),
            "adds": {
                arm: _figures(total_cost(plan, costs, refs, paid=base))
                for arm, refs in experiment.arms.items()
                if arm != BASE
            },
        }
    nodes: dict[str, dict[str, Any]] = {
        ref: {"label": plan.nodes[ref].label, **_figures(cost)} for ref, cost in costs.items()
    }
    for ref in plan.nodes:
        if ref.startswith("train/") and (stage := memory.find_stage(plan, store, ref)):
            needed = stage.memory()
            nodes[ref]["memory"] = needed._asdict() | {
                "total": needed.total,
                "has": memory.gpu_memory(stage.execution),
            }  # bytes
    return {"all": _figures(total_cost(plan, costs, list(plan.nodes))), "experiments": experiments, "nodes": nodes}


def _figures(cost: Cost) -> dict[str, Any]:
    return {name: getattr(cost, name).as_json() for name in FIGURES} | {"basis": list(cost.basis)}
