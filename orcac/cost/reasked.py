"""The price of asking baselines anew: their answers on record that were asked with another sampling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.chat.settings import Sampling
from orcac.plan.plan import Plan
from orcac.plan.reasked import EarlierReplies, list_earlier_replies
from orcac.spec.load import Experiment
from orcac.store.store import Store
from orcac.text import dollars, duration

if TYPE_CHECKING:
    from orcac.cost.bill import Cost

_SAMPLING = ("temperature", "top_p", "seed", "stop", "reasoning")  # settings that a benchmark has in a teacher's place


def describe_reasked(
    plan: Plan, experiments: Iterable[Experiment], store: Store, costs: Mapping[str, Cost] | None = None
) -> list[str]:
    """Return a line for each model and benchmark with answers that do not count any more, and then the remedy.

    costs: of all nodes, if they are known. Raises StoreError if the ledger is damaged.
    """
    todo = [one for one in list_earlier_replies(plan, experiments) if not store.is_done(one.ref)]
    counts = _count_answers(todo, store)
    found = [one for one in todo if counts[one.ref]]
    if not found:
        return []
    if costs is None:
        from orcac.cost.bill import price  # here, since it takes a fifth of the time of a `compile`

        costs = price(plan, store)
    lines = [_line(one, counts[one.ref], costs[one.ref]) for one in found]
    if any(one.recipe.origin == "api" for one in found):
        lines.append("  to use these answers, give the benchmark their settings: all its rows are then asked so")
    return lines


def _line(one: EarlierReplies, count: int, cost: Cost) -> str:
    before, now = one.recipe.sampling, one.sampling
    changed = [name for name in _SAMPLING if getattr(before, name) != getattr(now, name)]
    at = " and ".join(f"{name} {_show(before, name)}" for name in changed)
    asked = " and ".join(_show(now, name) for name in changed)
    price = dollars(cost.usd_spec.mid, 2) if cost.usd_spec.mid else duration(cost.seconds.mid)
    left = round(cost.requests.mid)
    again = "they are asked again" if left >= count else f"{left:,} are asked again"
    return (
        f"{one.teacher} on {one.benchmark}: {count:,} answers are on record at {at}; the benchmark asks at {asked}, "
        f"so {again}: {price}"
    )


def _show(sampling: Sampling, name: str) -> str:
    value = getattr(sampling, name)
    return f"{value:g}" if isinstance(value, float) else str(value) if value not in (None, ()) else "none"


def _count_answers(replies: Sequence[EarlierReplies], store: Store) -> dict[str, int]:
    """Return KIND/ID of the new node -> the answers to the earlier one that the ledger has.

    They are found by the keys of their requests, so the items must be made.
    """
    if not replies or not store.answers.is_dir():
        return dict.fromkeys((one.ref for one in replies), 0)
    import numpy as np

    from orcac.chat.keys import conversation_json, key_digest
    from orcac.chat.ledger.ledger import Ledger
    from orcac.rows import read_columns

    keys = {}
    for one in replies:
        prefix = one.recipe.template.key_prefix
        path = _find_items(one, store)
        queries = read_columns(path, ("query",)) if path else ()
        role = one.recipe.system_role
        parts = (conversation_json(system=one.system, user=query, system_role=role) for (query,) in queries)
        digests = [key_digest(prefix, messages) for messages in parts]
        keys[one.ref] = np.unique(np.array(digests, "S16"))
    if not any(map(len, keys.values())):
        return dict.fromkeys(keys, 0)
    ledger = Ledger(store.answers, wanted=np.unique(np.concatenate(list(keys.values()))))
    try:
        counts = {}
        for one in replies:
            found = ledger.find(keys[one.ref], one.recipe.sampling.max_tokens)
            counts[one.ref] = int((ledger.entries[found[found >= 0]]["failure"] == 0).sum())
        return counts
    finally:
        ledger.close()


def _find_items(one: EarlierReplies, store: Store) -> Path | None:
    """Return the file with the benchmark's items, in whichever of the nodes is made."""
    made = [ref for ref in (one.items, one.nodes[0].ref) if store.is_done(ref)]
    return store.find_folder(made[0]) / "prompts.parquet" if made else None
