"""orcac plan"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.cli.common import (
    STYLES,
    compile_specs,
    describe_upstream,
    warn_reasked,
    warn_short_stages,
)
from orcac.cli.printing import print_table
from orcac.cli.upstream import look_upstream
from orcac.errors import InputError, StoreError
from orcac.plan.deferred import list_hub_addresses
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.plan.sharing import (
    describe_arms,
    group_replicates,
    map_arms_to_nodes,
    map_arms_to_runs,
    map_nodes_to_arms,
    map_replicates,
    name_group,
    strip_arm,
)
from orcac.plan.state import State, read_state
from orcac.store.durable import write_if_changed
from orcac.store.store import Store, read_record
from orcac.study import find_study
from orcac.text import clean

if TYPE_CHECKING:
    from rich.table import Table

LISTED = 20  # arms whose nodes are listed; if there are more arms, each is one line of counts
SHARED_LISTED = 40  # shared nodes that are listed beside such lines, at most


@click.command("plan")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--all", "in_full", is_flag=True, help=f"List every node, even of more than {LISTED} arms.")
@click.option(
    "--svg", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Draw the plan into FILE instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print the nodes as JSON.")
def command(specs: tuple[str, ...], in_full: bool, svg: Path | None, as_json: bool) -> None:
    """Show the nodes of SPECS: those that all arms share, then those of each arm. The plan is not written.

    \b
    Example:
      orcac plan specs/tiny.yaml
      orcac plan specs/tiny.yaml --svg plan.svg     draw the nodes that arms share
    """
    plan, experiments = compile_specs(specs)
    study = find_study(specs)
    store = study.store
    look_upstream(plan, study)
    warn_reasked(plan, experiments, store)
    lines = [*warn_short_stages(plan, experiments, store), *describe_upstream(plan, study)]
    states = {ref: read_state(store, node) for ref, node in plan.nodes.items()}
    arms = map_nodes_to_arms(plan)
    if svg:
        _draw(plan, states, svg)
    if as_json:
        rows = [
            {
                "ref": ref,
                "label": node.label,
                "state": states[ref].name,
                "done": states[ref].done,
                "total": states[ref].total,
                "arms": arms[ref],
                "inputs": node.needs,
                "later": list_hub_addresses(node),
                "waits": node.blockers,
            }
            for ref, node in plan.nodes.items()
        ]
        click.echo(json.dumps(rows, indent=1))
    elif svg:
        click.echo(svg)
    else:
        _show(plan, states, arms, in_full, [*lines, *_describe_saved(store, states, arms)])


def _draw(plan: Plan, states: Mapping[str, State], path: Path) -> None:
    from orcac.plan.picture.picture import draw_plan

    names = {ref: "done" if now.is_finished else now.name for ref, now in states.items()}
    try:
        write_if_changed(path, draw_plan(plan, names, title=", ".join(plan.experiments)))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror})", fix="give the path of a file that you can write"
        ) from None


def _show(
    plan: Plan,
    states: Mapping[str, State],
    arms: Mapping[str, tuple[str, ...]],
    in_full: bool,
    notes: Sequence[str],
) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    every, runs = map_arms_to_nodes(plan), map_arms_to_runs(plan)
    firsts = {} if in_full else map_replicates(plan)
    width = max(len(_describe_states(plan, states, refs)) for refs in group_replicates(plan.nodes, firsts))
    own: dict[str, list[str]] = {arm: [] for arm in every}  # the nodes of the baselines come last
    by_all: list[str] = []
    by_some: list[str] = []
    for ref, names in arms.items():
        if len(names) == 1:
            own.setdefault(names[0], []).append(ref)
        else:
            (by_all if len(names) == len(every) else by_some).append(ref)
    listed = in_full or len(every) <= LISTED
    shared = ((f"shared by {describe_arms(list(every), len(every))}", by_all), ("shared by some", by_some))
    sections = [(title, refs) for title, refs in shared if refs]
    if listed:
        sections += [(_title(arm, len(own) > 1, runs.get(arm, 1)), refs) for arm, refs in own.items()]
    for title, refs in sections:
        console.print(f"[bold]{title}[/]: {_count_nodes(refs, states)}", soft_wrap=True)
        if not listed and len(refs) > SHARED_LISTED:
            kinds = Counter(ref.partition("/")[0] for ref in refs)
            console.print("  " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()))
        elif refs:
            print_table(console, _nodes(plan, states, arms, group_replicates(refs, firsts), len(every), width))
        console.print()
    if not listed:
        print_table(console, _arms(states, every, own, runs))
        console.print("\n[dim]--all lists the nodes of each arm[/]")
    for note in notes:
        click.echo(textwrap.fill(clean(note), 80, subsequent_indent="  "))
    console.print(f"[bold]in all[/]: {_count_nodes(list(plan.nodes), states)}", soft_wrap=True)


def _describe_saved(store: Store, states: Mapping[str, State], arms: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line on the CPU time that the finished nodes took, and what they would have taken arm by arm."""
    spent = apart = 0.0
    for ref, names in arms.items():
        if states[ref].is_finished:
            seconds = _read_cpu_seconds(store, ref)
            spent += seconds
            apart += seconds * len(names)
    if apart == spent:
        return []
    return [
        f"the finished nodes took {_hours(spent)} of CPU; each arm by itself would have taken {_hours(apart)} in all"
    ]


def _read_cpu_seconds(store: Store, ref: str) -> float:
    """Return the CPU seconds in the record of a finished node; 0 if it has none, or is damaged.

    `Store.artifact` would look at each file of the node for links, which takes four times as long.
    """
    try:
        made = read_record(store.marker(ref)).get("made")
    except StoreError:  # `orcac verify` reports it
        return 0.0
    seconds = made.get("cpu_seconds") if isinstance(made, dict) else None
    return seconds if isinstance(seconds, int | float) and 0 <= seconds < 1e12 else 0.0


def _hours(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"


def _title(arm: str, is_one_of_several: bool, runs: int) -> str:
    alone = f"{arm} alone" if is_one_of_several else arm
    return f"{alone}, {runs} replicates" if runs > 1 else alone


def _nodes(
    plan: Plan,
    states: Mapping[str, State],
    arms: Mapping[str, tuple[str, ...]],
    groups: Sequence[Sequence[str]],
    total: int,
    width: int,
) -> Table:
    """Return a table with a row for each group of nodes that differ by their replicate alone.

    total: the number of arms; width: that of the column of states
    """
    from rich.markup import escape
    from rich.table import Table

    labels = {ref: clean(strip_arm(plan.nodes[ref].label, arms[ref])) for ref in plan.nodes}
    labels |= {refs[0]: clean(strip_arm(name_group(plan, refs), arms[refs[0]])) for refs in groups}
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    table.add_column(width=max(map(len, plan.nodes)) - 12)  # widths of the whole plan, so that sections align
    table.add_column(width=min(max(map(len, labels.values())), 28), overflow="fold")
    table.add_column(width=width)
    table.add_column(overflow="fold")
    for refs in groups:
        ref = refs[0]
        shared = "" if len(arms[ref]) in (1, total) else ", ".join(arms[ref])
        shared = shared if len(shared) <= 60 else describe_arms(arms[ref], total)
        style = STYLES[next((states[ref].name for ref in refs if states[ref].name != "done"), "done")]
        table.add_row(
            ref[:-12], escape(labels[ref]), f"[{style}]{_describe_states(plan, states, refs)}[/]", escape(shared)
        )
    return table


def _arms(
    states: Mapping[str, State],
    every: Mapping[str, Sequence[str]],
    own: Mapping[str, Sequence[str]],
    runs: Mapping[str, int],
) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold")
    for column in ("nodes", "to make", "own nodes", "own to make"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm, alone in own.items():
        refs = every.get(arm, alone)
        counts = (len(refs), _count_to_make(refs, states), len(alone), _count_to_make(alone, states))
        name = f"{arm} × {runs[arm]}" if runs.get(arm, 1) > 1 else arm
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    return table


def _count_nodes(refs: Sequence[str], states: Mapping[str, State]) -> str:
    return f"{len(refs):,} node{'s' * (len(refs) != 1)}, {_count_to_make(refs, states):,} to make"


def _count_to_make(refs: Sequence[str], states: Mapping[str, State]) -> int:
    return sum(not states[ref].is_finished for ref in refs)


def _describe_states(plan: Plan, states: Mapping[str, State], refs: Sequence[str]) -> str:
    """Return the state of nodes: `done` if it is that of all of them, else as in `2 done, 1 to do`."""
    counts = Counter(_describe_state(states[ref], plan.nodes[ref]) for ref in refs)
    return ", ".join(counts if len(counts) == 1 else (f"{count} {state}" for state, count in counts.items()))


def _describe_state(state: State, node: Node) -> str:
    """Return the state with its progress, and `waits` or `later` for a node that cannot be made or resolved yet."""
    if state.is_finished:
        return state.name
    text = f"{state.name} {100 * (state.done or 0) // state.total} %" if state.total else state.name
    return f"{text}, waits" if node.blockers else f"{text}, later" if list_hub_addresses(node) else text
