"""orcac diff"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from orcac.cli.common import opened
from orcac.errors import InputError
from orcac.plan.effect import Effect, effect, requests
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.diff import Change, changes
from orcac.spec.load import BASE, Experiment, load
from orcac.store import Store


@click.command("diff")
@click.argument("old")
@click.argument("new", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the difference for a script.")
def command(old: str, new: str | None, as_json: bool) -> int:
    """Show what differs between OLD and NEW, and what that remakes. Each is SPEC or SPEC:ARM.

    With one spec, every arm is compared with its base. Exit code 0: the same; 1: different; 2: an error.

    \b
    Example:
      orcac diff specs/tiny.yaml                          the ablation study at a glance
      orcac diff specs/tiny.yaml specs/tiny.yaml:no-assistant
      orcac diff specs/tiny.yaml specs/mine.yaml
    """
    _, store = opened()
    loaded: dict[str, Experiment] = {}
    left = _side(old, loaded)
    if new is None:
        pairs = [(left, (left[0], arm)) for arm in loaded[left[0]].arms if arm != left[1]]
    else:
        pairs = [(left, _side(new, loaded))]
    plan = Plan()
    nodes: dict[tuple[str, str], list[str]] = {}
    for index, (path, experiment) in enumerate(loaded.items()):
        one = Plan(nodes=plan.nodes)  # two specs of one name may be compared
        lower(one, experiment)
        (lowered,) = one.experiments.values()
        nodes |= {(path, arm): refs for arm, refs in lowered.arms.items()}
        plan.experiments[f"{index}"] = lowered
    results = []
    for one_side, other in pairs:
        specs = [loaded[path].arms[arm].spec for path, arm in (one_side, other)]
        found = effect(plan, nodes[one_side], nodes[other], store)
        results.append((_title(one_side), _title(other), changes(*specs), found))
    if as_json:
        click.echo(json.dumps([_as_json(plan, *result) for result in results], indent=1, ensure_ascii=False))
    else:
        for result in results:
            _show(plan, store, *result)
    return int(any(different or not found.is_nothing for _, _, different, found in results))


def _side(text: str, loaded: dict[str, Experiment]) -> tuple[str, str]:
    path, arm = (text, BASE) if Path(text).is_file() else (text.rpartition(":")[0] or text, text.rpartition(":")[2])
    if not Path(path).is_file():
        path, arm = text, BASE  # the error names what was given
    loaded.setdefault(path, load(Path(path)))
    if arm not in loaded[path].arms:
        raise InputError(f"{path}: no arm `{arm}`", fix=f"its arms: {', '.join(loaded[path].arms)}")
    return path, arm


def _title(side: tuple[str, str]) -> str:
    return side[0] if side[1] == BASE else f"{side[0]}:{side[1]}"


def _as_json(plan: Plan, old: str, new: str, different: list[Change], found: Effect) -> dict[str, Any]:
    return {
        "old": old,
        "new": new,
        "changes": [asdict(change) for change in different],
        "nodes": asdict(found),
        "requests": requests(plan, found.remade),
    }


def _show(plan: Plan, store: Store, old: str, new: str, different: list[Change], found: Effect) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{escape(old)}[/] -> [bold]{escape(new)}[/]")
    if not different and found.is_nothing:
        console.print("  the same")
        return
    for change in different:
        note = "" if change.kind == "semantic" else f"  ({change.kind})"
        old_value, new_value = escape(_short(change.old)), escape(_short(change.new))
        console.print(f"  {escape(change.path)}: [red]{old_value}[/] -> [green]{new_value}[/]{note}")
    if found.is_nothing:
        console.print("  nothing is remade")
        return
    for verb, refs, style in (
        ("to make", found.remade, "yellow"),
        ("in the store", found.stored, "green"),
        ("reused", found.reused, "green"),
        ("no longer needed", found.dropped, "dim"),
    ):
        if refs:
            console.print(f"  [{style}]{verb:<17}[/] {_kinds(plan, refs)}")
    for ref in found.remade:
        console.print(f"    [yellow]+[/] {ref[:-12]}  {escape(plan.nodes[ref].label)}")
    asked = requests(plan, found.remade)
    if asked != 0:
        console.print(f"  {f'up to {asked:,}' if asked else 'an unknown number of'} answers to ask for")


def _kinds(plan: Plan, refs: list[str]) -> str:
    counts = Counter(plan.nodes[ref].kind for ref in refs)
    return f"{len(refs)} nodes: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 48 else text[:45] + "..."
