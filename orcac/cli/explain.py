"""orcac explain"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orcac.cli.common import STYLES
from orcac.cli.printing import print_table
from orcac.errors import StoreError
from orcac.plan.file import find_ref
from orcac.plan.node import IDENTITY
from orcac.plan.plan import Plan
from orcac.plan.state import read_state
from orcac.store.store import Store
from orcac.study import find_study
from orcac.text import clean, json_text, size

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 20  # names of one kind; a node may have a thousand users
_SUMMARY_COSTS = ("input_tokens", "output_tokens", "tokens", "usd")  # the rest of a summary is the result
_COSTS = {
    "seconds": "{:,.1f} s",
    "cpu_seconds": "{:,.1f} CPU s",
    "peak_memory_mb": "{:,.0f} MB at most",
    "input_tokens": "{:,} input tokens",
    "output_tokens": "{:,} output tokens",
    "tokens": "{:,} tokens",
    "usd": "{:,.2f} USD",
}


@click.command("explain")
@click.argument("node")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def command(node: str, as_json: bool) -> None:
    """Explain NODE: the arms that use it, the content of its id, its progress, its cost and its files.

    NODE is KIND/ID, or a beginning of it or of the ID alone, in the compiled plan or in the store.

    \b
    Example:
      orcac explain train/0f3a5c19
      orcac explain 0f3a
    """
    study = find_study()
    path, store = study.plan, study.store
    plan = Plan.read(path) if path.exists() else Plan()
    ref = find_ref([*plan.nodes, *store.refs()], node)
    facts = _gather_facts(plan, store, ref)
    if as_json:
        click.echo(json_text(facts))
    else:
        _show(facts, path)


def _gather_facts(plan: Plan, store: Store, ref: str) -> dict[str, Any]:
    """Return everything that the plan and the store record about a node, as JSON values."""
    record = _record(store, ref)
    node = plan.nodes.get(ref)
    if node:
        inputs = {role: list(refs) for role, refs in node.inputs.items() if refs}
        identity: dict[str, Any] = {"rule": IDENTITY, "version": node.content["version"]}
        identity["recipe"] = node.recipe.model_dump(mode="json", exclude_defaults=True)
        needed_by = [other.ref for other in plan.nodes.values() if ref in other.needs]
    else:
        inputs = {role: refs for role, refs in record.get("inputs", {}).items() if refs}
        identity = {key: record.get(name) for key, name in (("rule", "identity"), ("version", "version"))}
        identity["recipe"] = record.get("recipe", {})
        needed_by = [other for other in store.refs() if ref in _needs(_record(store, other))]
    related = {need for refs in inputs.values() for need in refs} | set(needed_by)
    return {
        "ref": ref,
        "label": node.label if node else record.get("label", ""),
        "in_plan": node is not None,
        "used_by": plan.map_nodes_to_users().get(ref, []),
        "report_of": [name for name, item in plan.experiments.items() if item.report == ref],
        "needed_by": needed_by,
        "identity": {**identity, "inputs": inputs},
        "labels": {other: _label(plan, store, other) for other in sorted(related)},
        "state": asdict(read_state(store, node or ref)),
        "made": record.get("made"),
        "summary": record.get("summary"),
        "folder": str(store.find_folder(ref).absolute()),
        "files": {name: facts["bytes"] for name, facts in record.get("files", {}).items()},
    }


def _record(store: Store, ref: str) -> dict[str, Any]:
    """Return the artifact's record; {} if it is not made, or is damaged, which `orcac verify` reports."""
    try:
        return store.artifact(ref)
    except StoreError:
        return {}


def _needs(record: dict[str, Any]) -> set[str]:
    return {need for refs in record.get("inputs", {}).values() for need in refs}


def _label(plan: Plan, store: Store, ref: str) -> str:
    return plan.nodes[ref].label if ref in plan.nodes else str(_record(store, ref).get("label", ""))


def _show(facts: dict[str, Any], path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    identity, state = facts["identity"], facts["state"]
    kind = facts["ref"].partition("/")[0]
    _row(table, "node", f"{facts['ref']}  {facts['label']}")
    _row(table, "state", state["name"], style=STYLES[state["name"]])
    if state["total"] is not None:
        _row(table, "", f"{state['done']:,}/{state['total']:,} {state['unit']}  {state['note']}")
    if state["error"]:
        _row(table, "", state["error"], style=STYLES["failed"])
    if not facts["in_plan"]:
        _row(table, "used by", f"no compiled spec ({path})", style="yellow")
    for name in facts["report_of"]:
        _row(table, "used by", f"{name}: the report itself")
    arms: dict[str, list[str]] = {}
    for user in facts["used_by"]:
        name, _, arm = user.partition(":")
        arms.setdefault(name, []).append(arm)
    _rows(table, "used by", [f"{name}: {', '.join(_some(names))}" for name, names in arms.items()])
    _rows(table, "needed by", [_format_ref(facts, other) for other in facts["needed_by"]])
    table.add_row()
    if identity["rule"] is None:
        _row(table, "its id", "unknown: neither the compiled plan nor a complete record in the store has it")
    else:
        _row(table, "its id", f"by identity rule {identity['rule']}, of {kind} VERSION {identity['version']} and:")
    _rows(table, "recipe", _flat(identity["recipe"]))
    for role, refs in identity["inputs"].items():
        _rows(table, role, [_format_ref(facts, need) for need in refs])
    if facts["made"]:
        table.add_row()
        summary = facts["summary"] or {}
        _row(table, "cost", _cost({**facts["made"], **summary}))
        _row(table, "made", _made(facts["made"]))
        _rows(table, "result", _flat({key: summary[key] for key in summary if key not in _SUMMARY_COSTS}))
    if facts["files"]:
        table.add_row()
        _row(table, "files", facts["folder"])
        for name, count in facts["files"].items():
            _row(table, "", f"{size(count):>10}  {name}")
    print_table(Console(highlight=False), table)


def _row(table: Table, title: str, text: str, *, style: str = "") -> None:
    from rich.text import Text

    table.add_row(clean(title), Text(clean(text), style))


def _rows(table: Table, title: str, texts: list[str]) -> None:
    for index, text in enumerate(_some(texts)):
        _row(table, "" if index else title, text)


def _some(texts: list[str]) -> list[str]:
    """Return the first texts, and the number of the others."""
    more = len(texts) - _SHOWN
    return texts if more <= 0 else [*texts[:_SHOWN], f"and {more:,} more, which --json lists"]


def _format_ref(facts: dict[str, Any], ref: str) -> str:
    kind, _, number = ref.partition("/")
    return f"{kind}/{number[:8]}  {facts['labels'][ref]}"


def _flat(fields: dict[str, Any], prefix: str = "") -> list[str]:
    """Return `dotted.name: value` lines, each shortened to about 100 characters."""
    found = []
    for key, value in fields.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text = text.replace("\n", " ")
            found.append(f"{prefix}{key}: {text if len(text) <= 100 else text[:97] + '...'}")
    return found


def _cost(facts: dict[str, Any]) -> str:
    """Return the costs in a record's `made` and `summary`; an older orcac may have recorded fewer of them."""
    return ", ".join(text.format(facts[name]) for name, text in _COSTS.items() if name in facts)


def _made(made: dict[str, Any]) -> str:
    job = f", Slurm job {made['slurm_job']}" if made.get("slurm_job") else ""
    versions = {"orcac": made.get("orcac", "?"), **made.get("packages", {})}
    return f"{made.get('started', '?')} on {made.get('host', '?')}{job}; " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    )
