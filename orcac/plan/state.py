"""The state of a node, read from its folder in the store alone: without Snakemake, the plan or any other node.

    done      it has its marker
    upstream  it is not made, and the store's upstream has it
    making    its lease is held, or that of one of its shards
    failed    not making; the last try, or that of one of its shards, left an error
    partial   not making, not failed; a try left work to go on from
    to do     none of these

One directory listing decides most of it, and it is the only cost of a node that the store does not know: thousands are
read in a moment. The rest comes from small files that jobs write meanwhile, so each of them may be missing, outdated or
malformed. In the sums over shards, a shard that is done counts its whole size, and one that has not begun counts as
much as the largest known shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orcac.errors import StoreError
from orcac.plan.node import Node
from orcac.store.lease import is_leased
from orcac.store.store import Store
from orcac.summary import ShardSummary

StateName = Literal["done", "upstream", "making", "failed", "partial", "to do"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a node or a shard. A field that is not known is None or ""."""

    name: StateName
    done: int | None = None  # of `total`, in `unit`s; not known for a node that is done
    total: int | None = None
    unit: str = ""
    rate: float | None = None  # units a second, while it is being made
    eta_seconds: float | None = None
    usd: float | None = None  # so far
    note: str = ""  # while it is being made
    error: str = ""  # of the last try, if that failed
    exit_code: int | None = None  # of the last try, if that failed
    shards: tuple[State, ...] = ()  # of a node with several shards, once one of them has begun

    @property
    def is_finished(self) -> bool:
        """True if the node has an artifact, here or in the upstream."""
        return self.name in ("done", "upstream")


def read_state(store: Store, node: Node | str) -> State:
    """Return the state of a node, given as a Node or as KIND/ID. With KIND/ID, its shards are not read."""
    ref, shards = (node, 1) if isinstance(node, str) else (node.ref, getattr(node.execution, "shards", 1))
    folder = f"{store.root}/{ref}"  # a string: making a Path takes longer than listing the folder
    names = _list_names(folder)
    if "artifact.json" in names:
        return State(name="done")
    if "lease.json" not in names and store.is_upstream(ref):
        return State(name="upstream")
    if not names:
        return State(name="to do")
    own = _read_folder(folder, names)
    parts = _read_shards(f"{folder}/shards", shards) if shards > 1 and "shards" in names else []
    if any(part.name != "to do" for part in parts):
        own = replace(own, shards=tuple(parts))
    counted = _add_up_shards(own) if own.shards and own.total is None else own
    both = (own, *parts)
    if any(part.name == "making" for part in both):
        return replace(counted, name="making", error="", exit_code=None)
    if failed := next((part for part in both if part.name == "failed"), None):
        return replace(counted, name="failed", error=failed.error, exit_code=failed.exit_code)
    has_begun = any(part.name in ("partial", "done") for part in both)
    return replace(counted, name="partial" if has_begun else "to do")


def read_states(store: Store, nodes: Mapping[str, Node], before: Mapping[str, State]) -> dict[str, State]:
    """Return the state of each of `nodes`. A node that was finished in `before` stays so and is not read again."""
    return {
        ref: before[ref] if ref in before and before[ref].is_finished else read_state(store, node)
        for ref, node in nodes.items()
    }


def _list_names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208  a string, for the speed that `read_state` needs
    except OSError:
        return set()


def _read_folder(folder: str, names: set[str]) -> State:
    """Return the state of one folder, of a node or of a shard, that is not done."""
    is_making = "lease.json" in names and is_leased(Path(folder))
    progress = _read_json(f"{folder}/work/progress.json") if "work" in names else {}
    error = _read_json(f"{folder}/error.json") if "error.json" in names and not is_making else {}
    code = _parse_number(error.get("exit_code"))
    has_failed = "message" in error and code is not None
    state = State(
        name="making" if is_making else "failed" if has_failed else "partial" if "work" in names else "to do",
        unit=str(progress.get("unit", "")),
        usd=_parse_number(progress.get("usd")),
        note=str(progress.get("note", "")) if is_making else "",
        error=str(error["message"]) if has_failed else "",
        exit_code=int(code) if has_failed and code is not None else None,
    )
    done, total, rate = (_parse_number(progress.get(key)) for key in ("done", "total", "rate"))
    return _add_counts(state, done, total, rate if is_making else None)


def _add_counts(state: State, done: float | None, total: float | None, rate: float | None) -> State:
    """Return `state` with counts, rate and remaining time, or unchanged if a count is not known."""
    if done is None or total is None:
        return state
    eta = max(total - done, 0) / rate if rate else None
    return replace(state, done=int(done), total=int(total), rate=rate, eta_seconds=eta)


def _read_shards(folder: str, count: int) -> list[State]:
    """Return the states of the shards 1 to `count` in `folder`."""
    shards = []
    for index in range(1, count + 1):
        shard = f"{folder}/{index}-of-{count}"
        names = _list_names(shard)
        if "done.json" in names:
            size, usd = _read_shard_summary(f"{shard}/done.json")
            shards.append(_add_counts(State(name="done", unit="answers", usd=usd), size, size, None))
        else:
            shards.append(_read_folder(shard, names))
    return shards


def _read_shard_summary(path: str) -> tuple[float | None, float | None]:
    """Return the number of prompts of a finished shard and its cost (USD), from its marker; None if unknown."""
    try:
        summary = ShardSummary.from_json(_read_json(path).get("summary"), Path(path))
    except StoreError:
        return None, None
    return _parse_number(summary.prompts), _parse_number(summary.usd)


def _add_up_shards(own: State) -> State:
    """Return a node's state with the counts, rates and dollars of its shards added up, but none of their notes."""
    known = [shard for shard in own.shards if shard.done is not None and shard.total is not None]
    if not known:
        return own
    totals = [shard.total or 0 for shard in known]
    dollars = [shard.usd for shard in known if shard.usd is not None]
    state = State(
        name=own.name,
        unit=next((shard.unit for shard in known if shard.unit), ""),
        usd=sum(dollars) if dollars else None,
        shards=own.shards,
    )
    return _add_counts(
        state,
        done=sum(shard.done or 0 for shard in known),
        total=sum(totals) + max(totals) * (len(own.shards) - len(known)),
        rate=sum(shard.rate for shard in known if shard.rate) or None,
    )


def _read_json(path: str) -> dict[str, object]:
    """Return the JSON object in a file, or {} if there is none."""
    try:
        value = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _parse_number(value: object) -> float | None:
    """Return a count or an amount as a float; None for any other value, NaN and infinity included."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else None
