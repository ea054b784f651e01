"""Chains of nodes that one job of a cluster makes, and their names.

A job costs seconds to start and waits for its scheduler's next look, so small nodes share one. A node shares the job of
the only node that needs it if

- both are of kinds that the profile chains,
- they ask for the same machine (threads, GPUs, features), and for one,
- the second has no shards: their jobs, between the two, are made side by side,
- both are steps of a dataset, or both are brief by their estimates: a job that holds long nodes would have to begin
  again with the first of them when the last one fails.

A node that several need keeps a job of its own, so that a failure behind it stops nothing else. If several nodes could
share the job of one, the first does. So a chain has one way in the plan, which no other node leaves and enters again.
"""

from __future__ import annotations

import re
from collections.abc import Set

from orcac.plan.file import NodeData, PlanData

_OF_DATASET = frozenset({"sample", "collect", "filter", "rate", "tokenize"})


class Chains:
    """The chains of a plan."""

    def __init__(self, plan: PlanData, kinds: Set[str]) -> None:
        self._nodes, self._kinds = plan["nodes"], kinds
        self._labels = _name_nodes(plan)
        users: dict[str, list[str]] = {}
        for ref, node in self._nodes.items():  # in the plan's order, which every process of a run reads alike
            if node["kind"] == "report":  # it needs every node, and comes last
                continue
            for need in dict.fromkeys(need for refs in node["inputs"].values() for need in refs):
                users.setdefault(need, []).append(ref)
        self._next: dict[str, str] = {}  # a node -> the one whose job it shares
        joined = set[str]()
        for ref, (user, *others) in users.items():
            if not others and user not in joined and self._share(self._nodes[ref], self._nodes[user]):
                self._next[ref] = user
                joined.add(user)

    def chain_name(self, ref: str) -> str:
        """Return the name of a node's job: that of the last node of its chain."""
        while ref in self._next:
            ref = self._next[ref]
        return self.name(ref)

    def name(self, ref: str) -> str:
        """Return a node's name for people, `orcac:train/expert@base.1a2b3c`.

        The end is the beginning of the node's id, which makes the name unique. It holds nothing of the spec that a
        shell or a path could take for more than a name.
        """
        kind, _, digest = ref.partition("/")
        label = re.sub(r"[^\w@.+-]+", "-", self._labels.get(ref, ""), flags=re.ASCII).strip("-.")
        return f"orcac:{kind}/{label}.{digest[:6]}"

    def _share(self, one: NodeData, user: NodeData) -> bool:
        """Return whether `one` may share the job of `user`, the only node that needs it."""
        are_chained = {one["kind"], user["kind"]} <= self._kinds
        are_of_dataset = {one["kind"], user["kind"]} <= _OF_DATASET
        is_sharded = user["execution"].get("shards", 1) != 1
        # answers are asked for after a student is made (`Rules`), so it must not wait for a job that needs them
        return (
            are_chained
            and one["kind"] != "student"
            and not is_sharded
            and _machine(one) == _machine(user)
            and user["execution"].get("nodes", 1) == 1
            and (are_of_dataset or (_is_brief(one) and _is_brief(user)))
        )


def _machine(node: NodeData) -> tuple[object, ...]:
    """Return the machine that a node's job asks for."""
    execution = node["execution"]
    return (execution["threads"], execution["gpus"], execution.get("nodes", 1), execution.get("constraint"))


def _is_brief(node: NodeData) -> bool:
    estimate = node["execution"].get("estimate")
    return isinstance(estimate, dict) and bool(estimate.get("is_brief")) and not node["execution"]["gpus"]


def _name_nodes(plan: PlanData) -> dict[str, str]:
    """Return KIND/ID -> the name of the node in the first arm that has it, and that arm: `expert@base`."""
    names: dict[str, str] = {}
    for experiment, item in plan["experiments"].items():
        for arm, addresses in item["addresses"].items():
            for address, ref in addresses.items():
                names.setdefault(ref, f"{address.partition('/')[2] or address}@{arm}")
        names.setdefault(item["report"], experiment)
    return names
