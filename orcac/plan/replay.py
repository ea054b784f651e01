"""The nodes of a plan as another machine makes them again: those that come out byte by byte, and the others.

Sampling, asking from recorded answers, filtering and rating give the same bytes everywhere, with the same versions of
the libraries. A student's weights do not: processors round sums otherwise, and training makes the difference grow. So
everything that reads a student may differ.

A judge that scores a student's answers would be asked about new texts, for which there are no recorded reviews. So its
scores, and a report with them, are not made again.
"""

from __future__ import annotations

from collections.abc import Iterable

from orcac.plan.asked import find_asked
from orcac.plan.plan import Plan

__all__ = ["list_exact", "list_remade", "list_targets"]

_TRAINED = ("student", "train", "eval")


def list_exact(plan: Plan) -> list[str]:
    """Return the nodes (KIND/ID) that read no student, which come out byte by byte."""
    trained = _spread(plan, {ref for ref, node in plan.nodes.items() if node.kind in _TRAINED})
    return [ref for ref in plan.nodes if ref not in trained]


def list_remade(plan: Plan) -> list[str]:
    """Return the nodes (KIND/ID) that a replay makes: all but those that would ask a model about a student's texts."""
    exact = {*list_exact(plan)}
    asking = _spread(plan, {ref for ref, node in plan.nodes.items() if ref not in exact and find_asked(node)})
    return [ref for ref in plan.nodes if ref not in asking]


def list_targets(plan: Plan, refs: Iterable[str]) -> list[str]:
    """Return those of some nodes that no other of them needs."""
    refs = list(refs)
    needed = {need for ref in refs for need in plan.nodes[ref].needs}
    return [ref for ref in refs if ref not in needed]


def _spread(plan: Plan, refs: set[str]) -> set[str]:
    """Return some nodes with all nodes that need them, directly or not. A plan has inputs before their users."""
    found = set(refs)
    for ref, node in plan.nodes.items():
        if not found.isdisjoint(node.needs):
            found.add(ref)
    return found
