"""Which arms want a node. The answer for all nodes is made in one pass: asking node by node would read every arm's
list again each time.
"""

from __future__ import annotations

from collections.abc import Sequence

from orcac.plan.plan import Plan


def users(plan: Plan) -> dict[str, tuple[str, ...]]:
    """KIND/ID -> the arms that want the node, in the order of the specs; `spec:arm` where there are several specs.

    A report is wanted by every arm of its spec.
    """
    several = len(plan.experiments) > 1
    found: dict[str, list[str]] = {ref: [] for ref in plan.nodes}
    for name, experiment in plan.experiments.items():
        for arm, refs in experiment.arms.items():
            for ref in (*refs, experiment.report):
                found[ref].append(f"{name}:{arm}" if several else arm)
    return {ref: tuple(arms) for ref, arms in found.items()}


def short_label(label: str, arms: tuple[str, ...]) -> str:
    """A node's label without the arm that it begins with, where that arm is told beside it."""
    for arm in arms:
        if label.startswith(own := f"{arm.rpartition(':')[2]}: "):
            return label[len(own) :]
    return label


def arms_told(arms: Sequence[str], total: int) -> str:
    """How many of `total` arms these are, in words; a lone one by its name."""
    if len(arms) == 1:
        return arms[0]
    if len(arms) == total == 2:
        return "both arms"
    return f"all {total:,} arms" if len(arms) == total else f"{len(arms):,} of {total:,} arms"
