"""How far a node is, read from its folder in the store alone: no Snakemake, no other node, no plan.

    done      its marker stands
    making    somebody holds its lease, or that of one of its shards
    failed    nobody does, and the last try, or that of one of its shards, left word of why
    partial   nobody does, and a try left something to go on from
    to do     none of these

One directory listing says most of it, and is all that a node costs of which the store knows nothing: thousands are
read in a moment. The rest comes from small files that others write meanwhile, so each may be missing, old or
anything at all. A shard that is done counts as all its part, one that has not begun as the largest part known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from orcac.collect.recipe import ShardSummary
from orcac.errors import StoreError
from orcac.plan.node import Node
from orcac.store.lease import is_leased
from orcac.store.store import Store

Name = Literal["done", "making", "failed", "partial", "to do"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """None, or "", where it is not known."""

    name: Name
    done: int | None = None  # of `total`, in `unit`s; not of a node that is done
    total: int | None = None
    unit: str = ""
    rate: float | None = None  # units a second, while it is being made
    eta_seconds: float | None = None
    usd: float | None = None  # so far
    note: str = ""  # while it is being made
    error: str = ""  # of the last try, where that failed
    exit_code: int | None = None  # with it
    shards: tuple[State, ...] = ()  # of a node that is asked for in shards, once one of them has begun


def read_state(store: Store, node: Node | str) -> State:
    """The state of a node, or of a KIND/ID (whose shards are then not looked at)."""
    ref, shards = (node, 1) if isinstance(node, str) else (node.ref, getattr(node.execution, "shards", 1))
    folder = f"{store.root}/{ref}"  # as text: making a Path costs more than looking at it
    names = _list(folder)
    if "artifact.json" in names or not names:
        return State(name="done" if names else "to do")
    own = _read(folder, names)
    parts = _shards(f"{folder}/shards", shards) if shards > 1 and "shards" in names else []
    every = (own, *parts)
    if any(part.name != "to do" for part in parts):
        own = replace(own, shards=tuple(parts))
    shown = _sum(own) if own.shards and own.total is None else own
    if any(part.name == "making" for part in every):
        return replace(shown, name="making", error="", exit_code=None)
    if failed := next((part for part in every if part.name == "failed"), None):
        return replace(shown, name="failed", error=failed.error, exit_code=failed.exit_code)
    begun = any(part.name in ("partial", "done") for part in every)
    return replace(shown, name="partial" if begun else "to do")


def read_states(store: Store, nodes: Mapping[str, Node], before: Mapping[str, State]) -> dict[str, State]:
    """The state of each of `nodes`; what was done `before` stays so, and is not looked at again."""
    return {
        ref: before[ref] if ref in before and before[ref].name == "done" else read_state(store, node)
        for ref, node in nodes.items()
    }


def _list(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208  text, as above
    except OSError:
        return set()


def _read(folder: str, names: set[str]) -> State:
    """What one folder, a node's or a shard's, says of itself: making, failed, partial or to do."""
    making = "lease.json" in names and is_leased(Path(folder))
    record = _json(f"{folder}/work/progress.json") if "work" in names else {}
    word = _json(f"{folder}/error.json") if "error.json" in names and not making else {}
    code = _number(word.get("exit_code"))
    failed = "message" in word and code is not None
    done, total, rate = (_number(record.get(key)) for key in ("done", "total", "rate"))
    return _counted(
        name="making" if making else "failed" if failed else "partial" if "work" in names else "to do",
        done=done,
        total=total,
        unit=str(record.get("unit", "")),
        rate=rate if making else None,
        usd=_number(record.get("usd")),
        note=str(record.get("note", "")) if making else "",
        error=str(word["message"]) if failed else "",
        exit_code=int(code) if failed and code is not None else None,
    )


def _counted(*, name: Name, done: float | None, total: float | None, rate: float | None, **more: Any) -> State:
    """A state with what follows from its counts."""
    if done is None or total is None:
        return State(name=name, **more)
    eta = max(total - done, 0) / rate if rate else None
    return State(name=name, done=int(done), total=int(total), rate=rate, eta_seconds=eta, **more)


def _shards(folder: str, count: int) -> list[State]:
    parts = []
    for index in range(1, count + 1):
        shard = f"{folder}/{index}-of-{count}"
        names = _list(shard)
        if "done.json" in names:
            size, usd = _finished(f"{shard}/done.json")
            parts.append(_counted(name="done", done=size, total=size, rate=None, unit="answers", usd=usd))
        else:
            parts.append(_read(shard, names))
    return parts


def _finished(path: str) -> tuple[float | None, float | None]:
    """Return the number of prompts of a finished shard and what it cost (USD), by its marker; None if unknown."""
    try:
        summary = ShardSummary.from_json(_json(path).get("summary"), Path(path))
    except StoreError:
        return None, None
    return _number(summary.prompts), _number(summary.usd)


def _sum(own: State) -> State:
    """A node's state with the counts of its shards; its name is not settled here. What they note stays theirs."""
    known = [part for part in own.shards if part.done is not None and part.total is not None]
    if not known:
        return own
    totals = [part.total or 0 for part in known]
    dollars = [part.usd for part in known if part.usd is not None]
    return _counted(
        name=own.name,
        done=sum(part.done or 0 for part in known),
        total=sum(totals) + max(totals) * (len(own.shards) - len(known)),
        unit=next((part.unit for part in known if part.unit), ""),
        rate=sum(part.rate for part in known if part.rate) or None,
        usd=sum(dollars) if dollars else None,
        shards=own.shards,
    )


def _json(path: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A count or an amount; None for all else, NaN and infinity too."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else None
