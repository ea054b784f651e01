"""orcac diff"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orcac import text
from orcac.cli.common import gc_paused, read_pins, unknown_arm
from orcac.cli.completion import SpecArm
from orcac.cli.detectable import plan_comparisons
from orcac.cli.printing import print_table
from orcac.cost import figures
from orcac.cost.bill import FIGURES, Cost, price_flow, total_cost
from orcac.cost.detectable import format_points
from orcac.cost.figures import Range
from orcac.cost.flow import Flow
from orcac.errors import InputError
from orcac.plan.effect import Effect, compute_effect
from orcac.plan.lower import lower
from orcac.plan.plan import BASELINES, Plan
from orcac.plan.plan import Experiment as PlannedExperiment
from orcac.plan.replicates import count_runs
from orcac.plan.sharing import group_replicates, map_replicates, name_group
from orcac.plan.upgrade import keep
from orcac.report.recipe import Draws, ReportRecipe, name_baseline
from orcac.report.rescored import Rescored, rescore
from orcac.spec.diff import ABSENT, Change, compare_specs
from orcac.spec.load import BASE, Experiment, File, load
from orcac.study import find_study
from orcac.text import clean, json_text

if TYPE_CHECKING:
    from rich.console import Console

LISTED = 20  # arms that are shown in full; if there are more, each is only a row of the table
GROUPED = 100  # arms that are rows of the table; if there are more, each change that they make is a row
_SHOWN = 2  # digits of a figure


@dataclass(frozen=True, slots=True)
class Side:
    """One arm of a spec."""

    file: File
    arm: str

    def __str__(self) -> str:
        return str(self.file) if self.arm == BASE else f"{self.file}:{self.arm}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two sides, its nodes and its price."""

    old: Side
    new: Side
    changes: list[Change]
    effect: Effect
    cost: Cost  # of the nodes to make
    runs: int  # replicates of the new side
    rescored: list[Rescored]  # finished answers that the two sides score by other checkers
    shows: str  # the smallest difference of their scores that the plan could show, in points; "" if not the base's arm

    @property
    def is_empty(self) -> bool:
        return not self.changes and self.effect.is_empty


@click.command("diff")
@click.argument("old", type=SpecArm())
@click.argument("new", required=False, type=SpecArm())
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON.")
def command(old: str, new: str | None, as_json: bool) -> int:
    """Compare OLD and NEW: the fields that differ, the nodes to remake, and the price.

    Each is SPEC, SPEC:ARM, or either of them at a git revision: REVISION:SPEC, REVISION:SPEC:ARM (data files are those
    on the disk). With one spec, every arm is compared with its base.

    Exit code 0: the same; 1: different; 2: an error.

    \b
    Example:
      orcac diff specs/tiny.yaml                          all arms of the study
      orcac diff specs/tiny.yaml specs/tiny.yaml:no-assistant
      orcac diff HEAD:specs/tiny.yaml specs/tiny.yaml     my edits since the last commit
    """
    with gc_paused():
        found, plan, together = _find_differences(old, new)
    if as_json:
        click.echo(json_text([_as_json(one) for one in found]))
    else:
        _show(plan, found, together)
    return int(not all(one.is_empty for one in found))


def _find_differences(old: str, new: str | None) -> tuple[list[Difference], Plan, Cost]:
    """Return the differences, the plan of both sides, and the cost of all nodes to make."""
    loaded: dict[File, Experiment] = {}
    left = _parse_side(old, loaded)
    if new is None:
        pairs = [(left, Side(left.file, arm)) for arm in loaded[left.file].arms if arm != left.arm]
        if not pairs:
            raise InputError(f"{left}: the spec has only one arm", fix="name a second spec or arm to compare it with")
    else:
        pairs = [(left, _parse_side(new, loaded))]
    store = find_study([pairs[0][1].file.path]).store
    plan = Plan()
    for file, experiment in loaded.items():
        lower(plan, experiment)
        # renamed, since the two specs may have one name
        plan.experiments[str(file)] = plan.experiments.pop(experiment.base.spec.name)
    plan = keep(plan, read_pins({str(file): file.path for file in loaded}), store)
    nodes = {Side(file, arm): refs for file in loaded for arm, refs in plan.experiments[str(file)].arms.items()}
    if left.file != pairs[0][1].file and left.arm == pairs[0][1].arm == BASE:  # two specs, with their baselines
        for side in pairs[0]:
            refs = [*nodes[side], *plan.experiments[str(side.file)].arms.get(BASELINES, ())]
            nodes[side] = list(dict.fromkeys(refs))
    flow = Flow(plan, store)
    costs = price_flow(flow)
    shown = _show_power(flow, plan.experiments[str(left.file)]) if new is None else {}
    recipes = {file: _report_recipe(plan, file) for file in loaded}
    runs_of = {file: _runs(recipe) for file, recipe in recipes.items()}
    found = []
    for one, other in pairs:
        specs = [loaded[side.file].arms[side.arm].spec for side in (one, other)]
        effect = compute_effect(plan, nodes[one], nodes[other], store)
        cost = total_cost(plan, costs, effect.remade, paid=effect.reused)
        runs = count_runs(plan.experiments[str(other.file)].addresses[other.arm])
        rescored = rescore(_pair_runs(runs_of, one, other), store, BASE, recipes[other.file])
        found.append(
            Difference(one, other, compare_specs(*specs), effect, cost, runs, rescored, shown.get(other.arm, ""))
        )
    remade = dict.fromkeys(ref for one in found for ref in one.effect.remade)
    return found, plan, total_cost(plan, costs, [*remade])


def _show_power(flow: Flow, experiment: PlannedExperiment) -> dict[str, str]:
    """Return arm -> the smallest difference to the base that its most powerful benchmark could show, in points."""
    shown: dict[str, tuple[float, ...]] = {}
    for one in plan_comparisons(flow, experiment):
        shown[one.arm] = min(one.shown, shown.get(one.arm, one.shown))
    return {arm: format_points(differences) for arm, differences in shown.items()}


def _pair_runs(runs_of: Mapping[File, Mapping[str, Draws]], old: Side, new: Side) -> dict[str, tuple[Draws, Draws]]:
    """Return arm or baseline -> its runs on two sides, whose finished answers may be scored by other checkers.

    Two specs are compared in all arms and baselines that both have; of two arms, their own answers alone.
    """
    before, after = runs_of[old.file], runs_of[new.file]
    if old.arm == new.arm == BASE and old.file != new.file:
        return {name: (before[name], after[name]) for name in before if name in after}
    return {new.arm: (before[old.arm], after[new.arm])} if old.arm in before and new.arm in after else {}


def _report_recipe(plan: Plan, file: File) -> ReportRecipe:
    """Return the recipe of a spec's report, without arms if the spec only collects answers."""
    ref = plan.experiments[str(file)].report
    recipe = plan.nodes[ref].recipe if ref else ReportRecipe(arms=())
    assert isinstance(recipe, ReportRecipe)
    return recipe


def _runs(recipe: ReportRecipe) -> dict[str, Draws]:
    """Return arm or baseline -> its runs, by draw of their data."""
    arms: dict[str, Draws] = {arm.name: arm.draws for arm in recipe.arms}
    return arms | {name_baseline(each): [[each]] for each in recipe.baselines}


def _parse_side(text: str, loaded: dict[File, Experiment]) -> Side:
    """Return the file and arm that `text` names: a file of this name, else FILE:ARM, else REVISION:FILE."""
    head, _, tail = text.rpartition(":")
    if Path(text).exists() or not head:
        side = Side(File(Path(text)), BASE)
    elif Path(head).is_file():
        side = Side(File(Path(head)), tail)
    else:
        side = _parse_revision(text)
    if side.file not in loaded:
        loaded[side.file] = load(side.file)
    if side.arm not in loaded[side.file].arms:
        raise unknown_arm(loaded[side.file], side.arm)
    return side


def _parse_revision(text: str) -> Side:
    revision, _, rest = text.partition(":")
    if not re.fullmatch(r"[\w./@{}^~+-]+", revision) or revision.startswith("-"):
        raise InputError(f"{text}: no such file", fix="give SPEC, SPEC:ARM or REVISION:SPEC")
    head, _, tail = rest.rpartition(":")
    if head and Path(head).suffix in (".yaml", ".yml", ".json"):
        return Side(File(Path(head), revision), tail)
    return Side(File(Path(rest), revision), BASE)


# --- JSON --------------------------------------------------------------------------------------------------------


def _as_json(one: Difference) -> dict[str, Any]:
    return {
        "old": str(one.old),
        "new": str(one.new),
        "replicates": one.runs,
        "shows_points": one.shows,
        "changes": [asdict(change) for change in one.changes],
        "nodes": asdict(one.effect),
        "cost": {name: getattr(one.cost, name).as_json() for name in FIGURES},
        "rescored": [asdict(row) for row in one.rescored],
    }


# --- text --------------------------------------------------------------------------------------------------------


def _show(plan: Plan, found: list[Difference], together: Cost) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if len(found) <= LISTED:
        for one in found:
            _show_one(console, plan, one, whole=len(found) == 1)
    if len(found) > GROUPED:
        _show_changes(console, found, together)
    elif len(found) > 1:
        _show_table(console, found)


def _show_one(console: Console, plan: Plan, one: Difference, *, whole: bool) -> None:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console.print(f"\n[bold]{escape(str(one.old))}[/] -> [bold]{escape(str(one.new))}[/]", soft_wrap=True)
    if one.is_empty:
        console.print("  the same")
        return
    for change in one.changes:
        note = "" if change.kind == "semantic" else f"  [dim]({change.kind})[/]"
        old, new = (escape(_short(value)) for value in (change.old, change.new))
        print_table(
            console, Padding(f"{escape(clean(change.path))}: [red]{old}[/] -> [green]{new}[/]{note}", (0, 0, 0, 2))
        )
    effect = one.effect
    if effect.is_empty:
        console.print("  nothing is remade")
        return
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=18)
    table.add_column(overflow="fold")
    for verb, refs, style in (
        ("to make", effect.remade, "yellow"),
        ("in the store", effect.stored, "green"),
        ("reused", effect.reused, "green"),
        ("no longer needed", effect.dropped, "dim"),
    ):
        if refs:
            table.add_row(f"  [{style}]{verb}[/]", _kinds(plan, refs))
    costs = _costs(one.cost)
    for number, (name, figure, show) in enumerate(costs if whole else ()):
        table.add_row("" if number else "  costs", f"{name:<10} {figures.format_range(figure, show)}")
    if not whole or not costs:
        parts = [
            f"{show(figure.mid)}" + ("" if name in ("dollars", "disk") else f" {name}") for name, figure, show in costs
        ]
        table.add_row("  costs", ", ".join(parts) or "next to nothing")
    print_table(console, table)
    for refs in group_replicates(effect.remade, map_replicates(plan)) if whole else ():
        name = escape(clean(name_group(plan, refs)))
        print_table(console, Padding(f"[yellow]+[/] {refs[0][:-12]}  {name}", (0, 0, 0, 4)))
    for line in _describe_rescored(one.rescored):
        print_table(console, Padding(escape(clean(line)), (0, 0, 0, 2)))


def _describe_rescored(rescored: list[Rescored]) -> list[str]:
    """Return a line for each arm and benchmark whose scores or verdict change on the same answers."""
    from orcac.report.wording import percent

    lines = []
    for row in (row for row in rescored if not row.is_same):
        checkers = f"{', '.join(row.old_checkers)} -> {', '.join(row.new_checkers)}"
        change = f"{percent(row.old_mean)} % -> {percent(row.new_mean)} %, {row.changed:,} of {row.items:,} answers"
        verdict = "the same verdict" if row.old_verdict else ""
        if row.old_verdict != row.new_verdict:
            verdict = f"{row.old_verdict} -> {row.new_verdict}"
        lines.append(f"{row.benchmark}, {row.arm}, by {checkers}: {change}" + (f"; {verdict}" if verdict else ""))
    if rescored and not lines:
        lines.append("the checkers give every finished answer the same score")
    return lines


def _show_table(console: Console, found: list[Difference]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(f"against {escape(str(found[0].old))}", overflow="fold")
    for name in ("to make", "reused", "requests", "USD", "GPU h", "shows"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        cost = one.cost
        table.add_row(
            escape(one.new.arm) + (f" × {one.runs}" if one.runs > 1 else ""),
            str(len(one.effect.remade)),
            str(len(one.effect.reused) + len(one.effect.stored)),
            text.count(cost.requests.mid) if cost.requests.mid else "",
            text.count(cost.usd_spec.mid, _SHOWN) if cost.usd_spec.mid else "",
            text.count(cost.gpu_hours.mid, _SHOWN) if cost.gpu_hours.mid else "",
            one.shows,
        )
    print_table(console, table)
    if any(one.shows for one in found):
        console.print("[dim]shows: the smallest difference, in points, that 4 of 5 such studies would show[/]")


def _show_changes(console: Console, found: list[Difference], together: Cost) -> None:
    """Print a row for each change of a field, with the ranges of the arms that make it, and the price of all arms."""
    from rich.markup import escape
    from rich.table import Table

    by_path: dict[str, dict[str, list[Difference]]] = {}  # path -> its new value -> the arms that have it
    for one in found:
        for change in one.changes:
            by_path.setdefault(change.path, {}).setdefault(_short(change.new), []).append(one)
    by_change = {f"{path}: {value}": arms for path, values in by_path.items() for value, arms in values.items()}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(f"against {escape(str(found[0].old))}", overflow="fold")
    for name in ("arms", "requests", "USD", "GPU h"):
        table.add_column(name, justify="right", no_wrap=True)
    for text_of, arms in by_change.items():
        costs = [one.cost for one in arms]
        table.add_row(
            escape(clean(text_of)),
            f"{len(arms):,}",
            _describe_span([cost.requests.mid for cost in costs], text.count),
            _describe_span([cost.usd_spec.mid for cost in costs], lambda value: text.count(value, _SHOWN)),
            _describe_span([cost.gpu_hours.mid for cost in costs], lambda value: text.count(value, _SHOWN)),
        )
    print_table(console, table)
    parts = [f"{show(figure.mid)}" + ("" if name in ("dollars", "disk") else f" {name}")
             for name, figure, show in _costs(together)]  # fmt: skip
    nodes = len({ref for one in found for ref in one.effect.remade})
    console.print(f"{len(found):,} arms together: {nodes:,} nodes to make, {', '.join(parts) or 'next to nothing'}")
    old, arm = str(found[0].old), found[0].new.arm
    console.print(escape(clean(f"`orcac diff {old} {old}:{arm}` shows one arm, `--json` each of them")), soft_wrap=True)


def _describe_span(values: list[float], show: Callable[[float], str]) -> str:
    """Return the smallest and the largest value; "" if all are 0."""
    low, high = show(min(values)), show(max(values))
    if not max(values):
        return ""
    return low if low == high else f"{low} to {high}"


def _costs(cost: Cost) -> list[tuple[str, Range, Callable[[float], str]]]:
    """Return each figure that is not zero: its name, its range, and the function that formats it."""

    def short(value: float) -> str:
        return text.count(value, _SHOWN)

    shown: list[tuple[str, Range, Callable[[float], str]]] = [
        ("requests", cost.requests, text.count),
        ("tokens", cost.input_tokens + cost.output_tokens, text.count),
        ("dollars", cost.usd_spec, partial(text.dollars, digits=2)),
        ("GPU hours", cost.gpu_hours, short),
        ("disk", cost.disk, text.size),
    ]
    return [one for one in shown if one[1].mid]


def _kinds(plan: Plan, refs: list[str]) -> str:
    counts = Counter(plan.nodes[ref].kind for ref in refs)
    nodes = "node" if len(refs) == 1 else "nodes"
    return f"{len(refs)} {nodes}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _short(value: Any) -> str:
    if value == ABSENT:
        return ABSENT
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else clean(value).replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."
