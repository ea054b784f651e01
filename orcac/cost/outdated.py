"""The price of an upgrade: the artifacts of an older VERSION or rule that a plan would remake, and their cost."""

from __future__ import annotations

from collections import Counter

from orcac.plan.plan import Plan
from orcac.plan.upgrade import find_older, list_outdated
from orcac.store.store import Store
from orcac.text import dollars, duration, hours


def describe_outdated(plan: Plan, store: Store) -> list[str]:
    """Return the lines that `compile` prints, the last one with the price; none if nothing is outdated."""
    found = [item for item in list_outdated(plan, find_older(plan, store), store) if not item.ref.startswith("report/")]
    refs = [item.ref for item in found if not item.is_replaced]  # without reports: they are free, and cannot be pinned
    if not refs:
        return []
    from orcac.cost.bill import price, total_cost  # here, since it takes a fifth of the time of a `compile`

    causes = Counter((item.ref.partition("/")[0], item.cause) for item in found if item.cause)
    lines = [f"{_nodes(count, kind)} made by {cause}" for (kind, cause), count in causes.items()]
    trained = [ref for ref in refs if ref.startswith("train/")]
    continued = {need for ref in trained for need in plan.nodes[ref].needs}
    students = len([ref for ref in trained if ref not in continued])
    cost = total_cost(plan, price(plan, store), refs)
    gpu = f"{hours(cost.gpu_hours.mid).removesuffix(' h')} GPU hours"
    time = gpu if cost.gpu_hours.mid else duration(cost.seconds.mid)
    retrains = f" and retrains {students:,} student{'s' * (students != 1)}" if students else ""
    nodes = "1 node" if len(refs) == 1 else f"{len(refs):,} nodes"
    return [*lines, f"  this plan remakes {nodes}{retrains}: {time}, {dollars(cost.usd_spec.mid, 2)}"]


def _nodes(count: int, kind: str) -> str:
    return f"{count:,} {kind} nodes were" if count > 1 else f"1 {kind} node was"
