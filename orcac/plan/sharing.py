"""Lists which arms need a node, and names arms for a reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orcac.plan.plan import BASELINES, Plan
from orcac.plan.replicates import count_runs, map_to_first, strip_mark


def map_nodes_to_arms(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return KIND/ID -> the names of the arms that need the node, in the order of the specs.

    A report belongs to every arm of its spec, or to BASELINES if no arm has a node. A node that only baselines need has
    the single name BASELINES.
    """
    found = plan.map_nodes_to_users()
    for name, experiment in plan.experiments.items():
        arms = [arm for arm, refs in experiment.arms.items() if refs and arm != BASELINES]
        if experiment.report:
            found[experiment.report] = [f"{name}:{arm}" for arm in arms or [BASELINES]]
    return {ref: tuple(_arm_name(plan, user) for user in users) for ref, users in found.items()}


def map_arms_to_nodes(plan: Plan) -> dict[str, list[str]]:
    """Return each arm's name -> the nodes (KIND/ID) that it needs, in the order of the specs.

    BASELINES and arms without nodes are left out.
    """
    return {
        _arm_name(plan, f"{name}:{arm}"): refs
        for name, experiment in plan.experiments.items()
        for arm, refs in experiment.arms.items()
        if refs and arm != BASELINES
    }


def map_arms_to_runs(plan: Plan) -> dict[str, int]:
    """Return each arm's name -> the number of its runs, in the order of the specs, without BASELINES."""
    return {
        _arm_name(plan, f"{name}:{arm}"): count_runs(addresses)
        for name, experiment in plan.experiments.items()
        for arm, addresses in experiment.addresses.items()
        if arm != BASELINES
    }


def map_replicates(plan: Plan) -> dict[str, str]:
    """Return KIND/ID of each node of a later run or draw -> KIND/ID of the same node of the first one."""
    firsts: dict[str, str] = {}
    for experiment in plan.experiments.values():
        for addresses in experiment.addresses.values():
            firsts |= map_to_first(addresses)
    return firsts


def group_replicates(refs: Iterable[str], firsts: Mapping[str, str]) -> list[list[str]]:
    """Return nodes (KIND/ID) in groups that differ by the run or the draw alone; `firsts` is from `map_replicates`."""
    groups: dict[str, list[str]] = {}
    for ref in refs:
        groups.setdefault(firsts.get(ref, ref), []).append(ref)
    return list(groups.values())


def name_group(plan: Plan, refs: Sequence[str]) -> str:
    """Return the label of a group of such nodes: "base: expert × 3", or that of a single node with its mark."""
    label = plan.nodes[refs[0]].label
    return label if len(refs) == 1 else f"{strip_mark(label)} × {len(refs)}"


def _arm_name(plan: Plan, user: str) -> str:
    """Return `SPEC:ARM` as it is if the plan holds several specs, else ARM."""
    return user if len(plan.experiments) > 1 else user.partition(":")[2]


def strip_arm(label: str, arms: tuple[str, ...]) -> str:
    """Return a node's label without the arm that it begins with, for a place that shows `arms` beside the label."""
    for arm in arms:
        if label.startswith(prefix := f"{arm.rpartition(':')[2]}: "):
            return label[len(prefix) :]
    return label


def describe_arms(arms: Sequence[str], total: int) -> str:
    """Return a phrase for `arms` out of `total`: a single arm's name, `both arms`, `all 3 arms` or `2 of 3 arms`."""
    if len(arms) == 1:
        return arms[0]
    if len(arms) == total == 2:
        return "both arms"
    return f"all {total:,} arms" if len(arms) == total else f"{len(arms):,} of {total:,} arms"
