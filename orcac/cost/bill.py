"""The cost of each node of a plan, and of several nodes together.

A finished node costs nothing more, and an answer in the ledger is not paid for again.

The wall time of one node assumes that it runs alone. `total_cost` gives the longest chain: each node starts when its
inputs are made, nodes that ask one account wait for one another, and every other node finds a free machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from orcac.cost import figures
from orcac.cost.figures import ZERO, Range
from orcac.cost.flow import Flow
from orcac.cost.measured import LOOKED_UP
from orcac.cost.prices import FIGURES, PRICERS, Cost
from orcac.cost.questions import AskedShares, add_questions, list_questions
from orcac.plan.asked import find_asked
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.store.store import Store
from orcac.text import dollars

__all__ = ["FIGURES", "Cost", "price", "price_flow", "total_cost"]


def price(plan: Plan, store: Store, looked_up: int = LOOKED_UP) -> dict[str, Cost]:
    """Return KIND/ID -> the cost of making the node now, for every node of the plan.

    At most `looked_up` questions of one node are looked up in the ledger.
    """
    return price_flow(Flow(plan, store, looked_up))


def price_flow(flow: Flow) -> dict[str, Cost]:
    """Return what `price` does, from the amounts of a plan."""
    plan = flow.plan
    answered: AskedShares = {}
    for ref, node in plan.nodes.items():
        if ref in flow.done and node.kind in ("collect", "rate") and find_asked(node):
            add_questions(answered, list_questions(flow, ref, {}))
    return {
        ref: Cost() if ref in flow.done else PRICERS[node.kind](flow, node, answered)
        for ref, node in plan.nodes.items()
    }


def total_cost(plan: Plan, costs: Mapping[str, Cost], refs: Collection[str], paid: Collection[str] = ()) -> Cost:
    """Return the cost of the nodes `refs` together, without the nodes `paid`, which were paid for before.

    A question that several nodes ask counts once.
    """
    new = set(refs).difference(paid)
    wanted = [ref for ref in plan.nodes if ref in new]  # inputs before the nodes that need them
    asked: AskedShares = {}
    for ref in paid:
        if questions := costs[ref].questions:
            add_questions(asked, questions)
    shared: dict[str, Cost] = {}
    # the largest node first: the questions of a smaller one are then recognised as a part of it
    for ref in sorted(wanted, key=lambda ref: -costs[ref].requests.mid):
        cost = costs[ref]
        shared[ref] = cost.scaled(add_questions(asked, cost.questions)) if cost.questions else cost
    basis = (*(why for ref in wanted for why in costs[ref].basis), *_budget_warnings(plan, shared))

    def add(figure: str) -> Range:
        return figures.sum_ranges(getattr(shared[ref], figure) for ref in wanted)

    return Cost(
        requests=add("requests"),
        input_tokens=add("input_tokens"),
        output_tokens=add("output_tokens"),
        usd=add("usd"),
        usd_batch=add("usd_batch"),
        usd_spec=add("usd_spec"),
        seconds=_longest_chain(plan, shared, wanted),
        gpu_hours=add("gpu_hours"),
        gpu_usd=add("gpu_usd"),
        disk=add("disk"),
        basis=tuple(dict.fromkeys(basis)),
    )


def _budget_warnings(plan: Plan, costs: Mapping[str, Cost]) -> Iterator[str]:
    """Yield a line for each experiment whose budget does not suffice for the requests of `costs`."""
    asked: dict[tuple[str, float, float], float] = {}
    for ref, cost in costs.items():
        model = find_asked(plan.nodes[ref])
        if model and cost.budget_left is not None:
            endpoint = model.endpoint
            assert endpoint.budget_usd is not None
            budget = endpoint.budget_name, endpoint.budget_usd, cost.budget_left
            asked[budget] = asked.get(budget, 0.0) + cost.usd_spec.mid
    for (name, usd, left), needed in asked.items():
        if needed > left:
            text = f"{name}: its budget of {dollars(usd)} is spent before all requests are sent"
            yield text + (f": {dollars(left)} of it are left, {dollars(needed)} are needed" if left < usd else "")


def _longest_chain(plan: Plan, costs: Mapping[str, Cost], refs: Collection[str]) -> Range:
    """Return the seconds until the last of the nodes ends."""
    ends: dict[str, Range] = {}
    free_at: dict[str, Range] = {}  # account -> the end of the last node that asks it
    for ref in refs:
        node, cost = plan.nodes[ref], costs[ref]
        waits = [ends[need] for need in node.needs if need in ends]
        if account := _account_key(node) if cost.seconds.mid else "":
            waits.append(free_at.get(account, ZERO))
        ends[ref] = max(waits, key=lambda end: end.mid, default=ZERO) + cost.seconds
        if account:
            free_at[account] = ends[ref]
    return max(ends.values(), key=lambda end: end.mid, default=ZERO)


def _account_key(node: Node) -> str:
    """Return the address and the model that a node asks online; "" if it asks no served model, or asks in batches.

    Batches do not wait for one another.
    """
    asked = find_asked(node)
    if asked is None or asked.endpoint.kind != "openai" or asked.endpoint.mode != "online":
        return ""
    return f"{asked.endpoint.base_url} {asked.recipe.model}"
