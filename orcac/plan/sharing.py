"""Which arms want a node, and how to tell it."""

from __future__ import annotations

from collections.abc import Sequence

from orcac.plan.plan import BASELINES, Plan


def users(plan: Plan) -> dict[str, tuple[str, ...]]:
    """KIND/ID -> the arms that want the node, in the order of the specs; `spec:arm` where there are several specs.

    A report is wanted by every arm of its spec.
    """
    found = plan.users()
    for name, experiment in plan.experiments.items():
        found[experiment.report] = [f"{name}:{arm}" for arm in experiment.arms if arm != BASELINES]
    return {ref: tuple(_told(plan, arm) for arm in arms) for ref, arms in found.items()}


def needed(plan: Plan) -> dict[str, list[str]]:
    """Each arm, told as by `users` and in the order of the specs -> the nodes that it needs. BASELINES are none."""
    return {
        _told(plan, f"{name}:{arm}"): refs
        for name, experiment in plan.experiments.items()
        for arm, refs in experiment.arms.items()
        if arm != BASELINES
    }


def _told(plan: Plan, arm: str) -> str:
    return arm if len(plan.experiments) > 1 else arm.partition(":")[2]


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
