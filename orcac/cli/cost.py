"""orcac cost"""

from __future__ import annotations

import json
import math
import textwrap
from typing import Any

import click

from orcac.cli.common import compiled, opened
from orcac.plan import figures
from orcac.plan.cost import FIGURES, Cost, price, total
from orcac.plan.figures import Range
from orcac.plan.plan import Experiment, Plan
from orcac.spec.load import BASE

_SHOWN = ("usd_spec", "gpu_hours", "seconds", "disk")  # what an assumption must move to be worth a line
_WIDTHS = (20, 7, 7, 7, 8, 8, 7, 8, 8)


@click.command("cost")
@click.argument("specs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures for a script, node by node.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Show what SPECS cost before anything runs: requests, tokens, dollars, GPU hours, time, disk.

    What the store holds already is free. Each arm is shown by what it adds to its base.

    \b
    Example:
      orcac cost specs/orca-13b.yaml
      orcac cost specs/tiny.yaml --json
    """
    plan, _ = compiled(specs)
    _, store = opened()
    costs = price(plan, store)
    if as_json:
        click.echo(json.dumps(_as_json(plan, costs), indent=1, ensure_ascii=False))
        return
    for experiment in plan.experiments.values():
        _show(plan, costs, experiment)
    every = total(plan, costs, list(plan.nodes))
    if len(plan.experiments) > 1:
        click.echo("\n" + _line("all of them", every))
    _say_what_it_rests_on(every)


def _show(plan: Plan, costs: dict[str, Cost], experiment: Experiment) -> None:
    base = [*experiment.arms[BASE], experiment.report]
    todo = sum(costs[ref].seconds.mid > 0 for ref in base)
    click.secho(f"\n{experiment.spec}: {todo} of the base's {len(base)} nodes to make", bold=True)
    heads = ("", "asks", "reads", "writes", "USD", "batch", "GPU h", "time", "disk")
    click.secho("".join(head.rjust(width) for head, width in zip(heads, _WIDTHS, strict=True)), dim=True)
    for name, refs in _groups(plan, experiment, base).items():
        click.echo(_line(name, total(plan, costs, refs)))
    whole = total(plan, costs, base)
    click.secho(_line("base, in all", whole), bold=True)
    arms = {name: refs for name, refs in experiment.arms.items() if name != BASE}
    for name, refs in arms.items():
        click.echo(_line(f"+ {name}", total(plan, costs, refs, paid=base)))
    every = whole
    if arms:
        every = total(plan, costs, [experiment.report, *(ref for refs in experiment.arms.values() for ref in refs)])
        click.secho(_line("all arms", every), bold=True)
    click.echo()
    ranges = [
        ("asked as the spec says", every.usd_spec, figures.money),
        ("GPUs", every.gpu_hours, figures.hours),
        ("GPUs", every.gpu_usd, figures.money),
        ("time", every.seconds, figures.duration),
        ("disk", every.disk, figures.size),
    ]
    for name, figure, show in ranges:
        if figure.mid:
            click.echo(f"{name + ':':<24}{figures.with_range(figure, show)}")
    _wrap(
        "Time is the longest chain: a node starts when its inputs are there, those that ask one account wait for one "
        "another, machines are free. Tokens and dollars that several share are counted once."
    )


def _groups(plan: Plan, experiment: Experiment, refs: list[str]) -> dict[str, list[str]]:
    """A line for each dataset that is asked for and each stage; one for all else of a kind."""
    names = {ref: address for address, ref in experiment.addresses[BASE].items()}
    groups: dict[str, list[str]] = {}
    for ref in refs:
        part, _, name = names.get(ref, ref).partition("/")
        kind = plan.nodes[ref].kind
        line = f"{kind} {name}" if part in ("collect", "train") else "replies" if part == "replies" else kind
        groups.setdefault(line, []).append(ref)
    own = ("collect", "train")
    return dict(sorted(groups.items(), key=lambda item: (item[0].partition(" ")[0] not in own, 0)))


def _line(name: str, cost: Cost) -> str:
    cells = [
        _short(cost.requests, figures.count),
        _short(cost.input_tokens, figures.count),
        _short(cost.output_tokens, figures.count),
        _short(cost.usd, lambda usd: figures.money(usd).removesuffix(" USD")),
        _short(cost.usd_batch, lambda usd: figures.money(usd).removesuffix(" USD")),
        _short(cost.gpu_hours, lambda hours: figures.hours(hours).removesuffix(" h")),
        _short(cost.seconds, figures.duration),
        _short(cost.disk, figures.size),
    ]
    most = _WIDTHS[0]
    shown = (name if len(name) <= most else name[: most - 1] + "…").ljust(most)
    return shown + "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS[1:], strict=True))


def _short(figure: Range, show: Any) -> str:
    return str(show(figure.mid)) if figure.mid else "-"


def _say_what_it_rests_on(cost: Cost) -> None:
    """The assumptions that move a total, the strongest first, then what is no figure."""
    moves: dict[str, float] = {}
    for name in _SHOWN:
        for unknown, ends in getattr(cost, name).spread.items():
            moves[unknown] = max(moves.get(unknown, 0.0), *map(abs, ends))
    lines, facts = [], []
    for why in cost.basis:
        moved = [move for unknown, move in moves.items() if why.startswith(unknown)]
        if moved and max(moved) >= 0.01:
            lines.append((max(moved), why))
        elif not moved and not any(why.startswith(unknown) for unknown in moves) and not _is_prior(why):
            facts.append(why)
    if lines or facts:
        click.secho("\nWhat it rests on, and how far that moves one of the totals", bold=True)
    for move, why in sorted(lines, key=lambda line: -line[0]):
        _wrap(f"{math.expm1(move):>5.0%}  {why}", indent="       ")
    for why in facts:
        _wrap(f"       {why}", indent="       ")


def _is_prior(why: str) -> bool:
    return ": prior, " in why or "the spec's `expect`" in why


def _wrap(text: str, indent: str = "") -> None:
    click.echo("\n".join(textwrap.wrap(text, 80, subsequent_indent=indent, drop_whitespace=True)))


def _as_json(plan: Plan, costs: dict[str, Cost]) -> dict[str, Any]:
    experiments = {}
    for name, experiment in plan.experiments.items():
        base = [*experiment.arms[BASE], experiment.report]
        experiments[name] = {
            "spec": experiment.spec,
            "base": _figures(total(plan, costs, base)),
            "adds": {
                arm: _figures(total(plan, costs, refs, paid=base))
                for arm, refs in experiment.arms.items()
                if arm != BASE
            },
        }
    nodes = {ref: {"label": plan.nodes[ref].label, **_figures(cost)} for ref, cost in costs.items()}
    return {"all": _figures(total(plan, costs, list(plan.nodes))), "experiments": experiments, "nodes": nodes}


def _figures(cost: Cost) -> dict[str, Any]:
    return {name: getattr(cost, name).as_json() for name in FIGURES} | {"basis": list(cost.basis)}
