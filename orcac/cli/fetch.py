"""orcac fetch"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orcac.cli.common import compile_specs
from orcac.hub import Fetched, fetch, is_offline
from orcac.plan.deferred import HubSource, list_hub_sources, list_served_models
from orcac.plan.needs import refuse_missing
from orcac.study import find_study
from orcac.text import clean, json_text, size


@click.command("fetch")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Download everything that the unfinished nodes of SPECS need from a hub: datasets, students, models of teachers
    and judges.

    The files go into the cache of the Hugging Face tools (HF_HOME), and files that are there are checked and kept. A
    download that was cut off continues. On a node without internet, set HF_HUB_OFFLINE=1 and the same HF_HOME: a run
    then reads each reference from the cache, at the commit that was fetched.

    \b
    Example:
      orcac fetch specs/smollm2.yaml                                on a login node
      HF_HUB_OFFLINE=1 orcac run specs/smollm2.yaml --profile slurm
    """
    plan, _ = compile_specs(specs)
    store = find_study(specs).store
    todo = [node for ref, node in plan.nodes.items() if not store.is_done(ref)]
    found: dict[HubSource, list[str]] = {}
    for node in todo:
        for source in (*list_hub_sources(node), *list_served_models(node)):
            found.setdefault(source, []).append(f"{node.kind} {node.label}")
    if not found:
        nothing = "nothing to fetch: no unfinished node needs a hub"
        click.echo(json_text({"cache": None, "bytes": 0, "sources": []}) if as_json else nothing)
        return
    refuse_missing([node for node in todo if list_hub_sources(node)])
    lines = []
    for source, labels in found.items():
        fetched = _fetch(source)
        lines.append(_as_json(source, labels, fetched))
        if not as_json:
            click.echo(clean(_describe(lines[-1])))
    from huggingface_hub import constants

    total = sum(line["bytes"] for line in lines)
    if as_json:
        click.echo(json_text({"cache": constants.HF_HUB_CACHE, "bytes": total, "sources": lines}))
        return
    state = "are there" if is_offline() else "fetched"
    click.echo(f"{size(total)} {state}, in {constants.HF_HUB_CACHE}")
    click.echo(f"on a node without internet: export HF_HUB_OFFLINE=1 HF_HOME={constants.HF_HOME}")


def _fetch(source: HubSource) -> Fetched:
    """Fetch the files that a node would read."""
    from orcac.sample.formats import SUFFIXES
    from orcac.tables.content import PACKED

    narrow: dict[str, Any] = {"suffix": SUFFIXES[source.format], "packed": PACKED} if source.format else {}
    return fetch(source.ref, kind=source.kind, label="fetch", **narrow)


def _as_json(source: HubSource, labels: list[str], fetched: Fetched) -> dict[str, Any]:
    return {
        "address": source.address,
        "kind": source.kind,
        "commit": fetched.commit,
        "files": [name for _, name in fetched.files],
        "bytes": sum(path.stat().st_size for path, _ in fetched.files),
        "folder": str(_find_snapshot(*fetched.files[0])),
        "nodes": labels,
    }


def _find_snapshot(path: Path, name: str) -> Path:
    """Return the folder of the commit in the cache, from the path of one of its files."""
    return path.parents[name.count("/")]


def _describe(line: dict[str, Any]) -> str:
    files, nodes = len(line["files"]), line["nodes"]
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return (
        f"{line['address']}  {files:,} file{'s' * (files != 1)}, {size(line['bytes'])}, commit {line['commit'][:12]}\n"
        f"  for {', '.join(nodes[:3])}{more}"
    )
