"""orcac power"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from orcac import text
from orcac.cli.common import compile_specs
from orcac.cost.bill import Cost, price_flow, total_cost
from orcac.cost.detectable import PlannedComparison, RunPrices, format_points, list_comparisons, price_runs
from orcac.cost.flow import Flow
from orcac.errors import InputError
from orcac.plan.plan import Experiment
from orcac.spec.load import BASE
from orcac.stats import power
from orcac.stats.verdict import LEVEL
from orcac.stats.wording import within
from orcac.study import find_study

_COLUMNS = "{arm:<{width}} {items:>7} {runs:>8} {alone:>12} {adjusted:>12}  {price}"


@click.command("power")
@click.argument("spec", type=click.Path())
@click.option("--detect", metavar="POINTS", help="Find the cheapest allocation that shows this difference, as in 2pt.")
@click.option("--budget", metavar="AMOUNT", help="The most that its trainings may cost, as in 500USD or 20h.")
@click.option(
    "--luck",
    metavar="POINTS",
    help="Plan for this luck of training: the standard deviation of an arm's true score over its runs, as in 5pt.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(spec: str, detect: str | None, budget: str | None, luck: str | None, as_json: bool) -> None:
    """Show the smallest difference that SPEC could show at 80 %, for each arm and benchmark, beside its price.

    With --detect, --budget or both: also the number of replicates and items to spend on.

    \b
    Example:
      orcac power specs/tiny.yaml
      orcac power specs/tiny.yaml --detect 5pt --budget 2h
      orcac power specs/tiny.yaml --luck 4pt
    """
    plan, _ = compile_specs([spec])
    store = find_study([spec]).store
    (experiment,) = plan.experiments.values()
    flow = Flow(plan, store)
    costs, found = price_flow(flow), list_comparisons(flow, experiment, _parse_points("--luck", luck))
    if not experiment.report:
        click.echo(f"{spec}: nothing is measured, so there is no difference to show")
        return
    if not found:
        fix = "add an arm in `ablations` or `sweep`, and `benchmarks`; baselines get intervals and no verdict"
        raise InputError(f"{spec}: there is no arm to compare with the base on a benchmark", fix=fix)
    base = [*experiment.arms[BASE], experiment.report]
    prices = {BASE: total_cost(plan, costs, base)}
    prices |= {one.arm: total_cost(plan, costs, experiment.arms[one.arm], paid=base) for one in found}
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    _show(experiment, found, prices)
    wanted, limit = _parse_points("--detect", detect), _parse_amount(budget)
    if wanted is None and limit is None:
        return
    runs = {
        name: price_runs(flow, experiment, name) for name in dict.fromkeys(one.benchmark for one in found if one.family)
    }
    if limit and limit[1] == "USD" and runs and all(price.unit != "USD" for price in runs.values()):
        asking = total_cost(plan, costs, {ref for refs in experiment.arms.values() for ref in refs}).usd_spec.mid
        click.echo("\n" + "\n".join(textwrap.wrap(_describe_free_training(limit[0], asking), 80)))
        limit = None
        if wanted is None:
            return
    for name, price in runs.items():
        _show_allocation([one for one in found if one.benchmark == name and one.family], price, wanted, limit)


def _parse_points(option: str, given: str | None) -> float | None:
    """Return the share that `2pt`, `2 points` or `2` names. Raises InputError for any other text."""
    if given is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:pt|points?)?\s*", given)
    if not match or not 0 < float(match[1]) < 100 * power.LARGEST:
        raise InputError(f"{option} {given}: not a number of points", fix=f"write it as in `{option} 2pt`")
    return float(match[1]) / 100


def _parse_amount(given: str | None) -> tuple[float, str] | None:
    """Return (amount, unit) of `500USD` or `20h`. Raises InputError for any other text."""
    if given is None:
        return None
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(USD|h)\s*", given)
    if not match:
        raise InputError(f"--budget {given}: not an amount", fix="write it as in `--budget 500USD` or `--budget 20h`")
    return float(match[1].replace("_", "")), match[2]


# --- text --------------------------------------------------------------------------------------------------------


def _show(experiment: Experiment, found: Sequence[PlannedComparison], prices: dict[str, Cost]) -> None:
    family = max(one.family for one in found)
    click.secho(f"\n{experiment.spec}: the smallest difference that 4 of 5 studies would show, in points", bold=True)
    width = max(26, *(len(one.arm) + 2 for one in found))
    heads = {"arm": "", "width": width, "items": "items", "runs": "runs", "alone": "alone", "price": "adds"}
    click.secho(_COLUMNS.format(adjusted=f"of {family}" if family else "", **heads).rstrip(), dim=True)
    for name in dict.fromkeys(one.benchmark for one in found):
        rows = [one for one in found if one.benchmark == name]
        marks = [rows[0].average] * (rows[0].average != "micro") + ["exploratory"] * (not rows[0].family)
        click.echo(f"{name} ({', '.join(marks)})" if marks else name)
        for one in rows:
            row = _COLUMNS.format(
                arm=f"  {one.arm}",
                width=width,
                items=f"{one.design.items:,}",
                runs=f"{one.design.arm_runs} + {one.design.base_runs}",
                alone=format_points(one.alone),
                adjusted=format_points(one.adjusted) or ("exploratory" if rows[0].family else ""),
                price=_price(prices[one.arm]),
            )
            click.echo(row.rstrip())
    click.echo(f"base: {_price(prices[BASE])}")
    for line in _notes(found, family):
        click.echo("\n".join(textwrap.wrap(line, 80)))


def _notes(found: Sequence[PlannedComparison], family: int) -> list[str]:
    """Return the basis of the figures, one sentence or two each."""
    lines = []
    if family > 1:
        lines.append(
            f"alone: one comparison at 5 %. of {family}: the same as the first of {family} comparisons (Holm), at "
            f"{100 * LEVEL / family:.2g} %."
        )
    lines += _describe_family(found, family)
    lines += _describe_bases(found)
    for name in dict.fromkeys(one.benchmark for one in found):
        lines += _describe_equality([one for one in found if one.benchmark == name and one.equal])
    if as_they_are := dict.fromkeys(one.arm for one in found if not one.is_trained):
        lines.append(
            f"{', '.join(as_they_are)}: neither this nor the base is trained, so the difference is one of two models "
            "as they are, and there is no training luck in it."
        )
    if not all(one.is_replicated for one in found if one.is_trained):
        lines.append(
            "Without replicates a difference is one of two models on these items, and no verdict on an arm; write "
            "`replicates: 3` in the spec."
        )
    return lines


def _describe_family(found: Sequence[PlannedComparison], family: int) -> list[str]:
    """Return a sentence on the comparisons that get a verdict, if the spec names its primary arms."""
    benchmarks = {one.benchmark for one in found if one.family}
    primary = dict.fromkeys(one.arm for one in found if one.family)
    if not any(one.benchmark in benchmarks and not one.family for one in found):
        return []
    return [
        f"Primary: {', '.join(primary)}. Verdicts: {family:,} of the {len(found):,} comparisons; the others are "
        "exploratory."
    ]


def _describe_bases(found: Sequence[PlannedComparison]) -> list[str]:
    """Return the basis of the figures, once for each, with its benchmarks if they differ."""
    benchmarks: dict[str, dict[str, None]] = {}
    for one in found:
        benchmarks.setdefault(one.basis, {})[one.benchmark] = None
    if len(benchmarks) == 1:
        return list(benchmarks)
    return [f"{', '.join(names)}: {basis}" for basis, names in benchmarks.items()]


def _describe_equality(found: Sequence[PlannedComparison]) -> list[str]:
    """Return how often arms that do not differ would be called equal on one benchmark, if it has a margin."""
    shares = sorted({f"{100 * share:.0f}" for one in found for share in one.equal}, key=int)
    if not shares:
        return []
    assert found[0].margin is not None
    ends = " to ".join(dict.fromkeys((shares[0], shares[-1])))
    verdict = within(found[0].margin)
    return [f"{found[0].benchmark}: an arm that does not differ is found {verdict} in {ends} of 100 studies."]


def _price(cost: Cost) -> str:
    usd = cost.usd_spec + cost.gpu_usd
    parts = [text.dollars(usd.mid, 2)] if usd.mid else []
    if cost.gpu_hours.mid:
        parts.append(f"{text.hours(cost.gpu_hours.mid).removesuffix(' h')} GPU h")
    if not cost.seconds.mid:
        return "nothing: all is made"
    return ", ".join(parts) or text.duration(cost.seconds.mid)


def _describe_free_training(limit: float, asking: float) -> str:
    """Return sentences on a budget in dollars for a spec whose trainings have no price in dollars."""
    budget = text.dollars(limit, 2)
    asked = f"Asking its models costs {text.dollars(asking, 2)}" if asking else "No model that it asks costs any"
    if asking > limit:
        asked += f", which is more than {budget}, and fewer training runs do not make it cheaper"
    else:
        asked += f", so {budget} allow any number of training runs"
    return (
        f"The trainings cost no dollars, since the spec states no `hardware.train.price`. {asked}. Hours limit the "
        "runs: give them as in `--budget 20h`, or state that price."
    )


def _show_allocation(
    found: Sequence[PlannedComparison], prices: RunPrices, wanted: float | None, limit: tuple[float, str] | None
) -> None:
    """Print the allocation that `wanted` and `limit` ask for, for each set of variances of one benchmark."""
    one = found[0]
    if limit and (limit[1] == "USD") != (prices.unit == "USD"):
        fix = "give the budget as in `--budget 500USD`" if limit[1] == "h" else "give the budget as in `--budget 20h`"
        raise InputError(f"{one.benchmark}: its trainings are priced in {prices.unit}, not in {limit[1]}", fix=fix)
    amount, level = limit[0] if limit else math.inf, LEVEL / one.family
    items, arms, costs = one.design.items, one.design.arms, prices.costs
    click.secho(f"\n{one.benchmark}: the cheapest allocation" + (f" within {_amount(amount, prices)}" if limit else ""))
    for variances in one.variances:
        luck = f"  luck {100 * variances.luck:.2g} points: "
        design = None
        if wanted:
            design = power.cheapest(
                wanted,
                items=items,
                arms=arms,
                variances=variances,
                costs=costs,
                tasks=one.design.tasks,
                budget=amount,
                level=level,
            )
        if design is None and wanted:
            luck += f"{100 * wanted:.2g} points are not shown"
            if not limit:
                click.echo(f"{luck} by {power.MOST_RUNS} replicates")
                continue
            luck += "; "
        if design is None:
            design = power.best(
                amount,
                items=items,
                arms=arms,
                variances=variances,
                costs=costs,
                tasks=one.design.tasks,
                level=level,
            )
        if design is None:
            click.echo(f"{luck}no allocation costs so little")
            continue
        smallest = 100 * power.detectable(design, variances, level)
        runs = f"replicates: {{base: {design.base_runs}, arms: {design.arm_runs}}}"
        paid = _amount(power.total_cost(design, costs), prices)
        click.echo(f"{luck}{smallest:.1f} points with {runs}, {design.items:,} items, {paid}")


def _amount(amount: float, prices: RunPrices) -> str:
    return text.dollars(amount, 2) if prices.unit == "USD" else f"{text.hours(amount).removesuffix(' h')} {prices.unit}"
