"""What a plan costs before it runs: the price of each node, and of several together.

What is done costs nothing more, and what the ledger answers is not paid again.

Wall time of one node is as if it ran alone. Of several, `total` says the longest chain: each starts when its inputs
are there, those that ask one account wait for one another, and machines are taken to be free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orcac.collect.recipe import CollectExecution
from orcac.cost import figures
from orcac.cost.figures import NOTHING, Range
from orcac.cost.flow import Flow
from orcac.cost.measured import LOOKED_UP
from orcac.cost.prices import FIGURES, KINDS, Cost
from orcac.cost.questions import Seen, questions, see
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.store.store import Store
from orcac.text import dollars

__all__ = ["FIGURES", "Cost", "price", "total"]


def price(plan: Plan, store: Store, looked_up: int = LOOKED_UP) -> dict[str, Cost]:
    """KIND/ID -> what it costs to make it now, for every node of the plan."""
    flow = Flow(plan, store, looked_up)
    answered: Seen = {}
    for ref in plan.nodes:
        if ref.startswith("collect/") and ref in flow.done:
            see(answered, questions(flow, ref, {}))
    return {
        ref: Cost() if ref in flow.done else KINDS[node.kind](flow, node, answered) for ref, node in plan.nodes.items()
    }


def total(plan: Plan, costs: Mapping[str, Cost], refs: Collection[str], paid: Collection[str] = ()) -> Cost:
    """Of `refs` together; questions that several ask count once. `paid` are nodes that were paid for before."""
    new = set(refs).difference(paid)
    wanted = [ref for ref in plan.nodes if ref in new]  # inputs before those that need them
    seen: Seen = {}
    for ref in paid:
        if asked := costs[ref].questions:
            see(seen, asked)
    shown: dict[str, Cost] = {}
    # the largest first: then what a smaller one asks is seen to be part of it
    for ref in sorted(wanted, key=lambda ref: -costs[ref].requests.mid):
        cost = costs[ref]
        shown[ref] = cost.asking(see(seen, cost.questions)) if cost.questions else cost
    sums: dict[str, Any] = {name: figures.total(getattr(shown[ref], name) for ref in wanted) for name in FIGURES}
    sums["seconds"] = _chain(plan, shown, wanted)
    why = (*(why for ref in wanted for why in costs[ref].basis), *_over_budget(plan, shown))
    return replace(Cost(basis=tuple(dict.fromkeys(why))), **sums)


def _over_budget(plan: Plan, costs: Mapping[str, Cost]) -> Iterator[str]:
    """A line for each experiment whose budget does not suffice for what `costs` asks."""
    asked: dict[tuple[str, float, float], float] = {}
    for ref, cost in costs.items():
        execution = plan.nodes[ref].execution
        if isinstance(execution, CollectExecution) and cost.budget_left is not None:
            assert execution.endpoint.budget_usd is not None
            budget = execution.endpoint.budget_name, execution.endpoint.budget_usd, cost.budget_left
            asked[budget] = asked.get(budget, 0.0) + cost.usd_spec.mid
    for (name, usd, left), needed in asked.items():
        if needed > left:
            text = f"{name}: its budget of {dollars(usd)} ends it before everything is asked"
            yield text + (f": {dollars(left)} of it are left, {dollars(needed)} are needed" if left < usd else "")


def _chain(plan: Plan, costs: Mapping[str, Cost], refs: Collection[str]) -> Range:
    """When the last of them ends."""
    ends: dict[str, Range] = {}
    free: dict[str, Range] = {}  # account -> when it is
    for ref in refs:
        node, cost = plan.nodes[ref], costs[ref]
        waits = [ends[need] for need in node.needs if need in ends]
        if account := _account(node) if cost.seconds.mid else "":
            waits.append(free.get(account, NOTHING))
        ends[ref] = max(waits, key=lambda end: end.mid, default=NOTHING) + cost.seconds
        if account:
            free[account] = ends[ref]
    return max(ends.values(), key=lambda end: end.mid, default=NOTHING)


def _account(node: Node) -> str:
    execution = node.execution
    settings = getattr(execution, "endpoint", None) or getattr(execution, "judge", None)
    if not settings or settings.kind != "openai" or settings.mode != "online":  # batches wait side by side
        return ""
    judge = getattr(node.recipe, "judge", None)
    return f"{settings.base_url} {judge.model if judge else getattr(node.recipe, 'model', '')}"
