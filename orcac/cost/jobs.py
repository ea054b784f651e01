"""The time limit and the memory of jobs for which the spec states none, from the estimates of their nodes.

    time limit   TIME_MARGIN times the upper end of the estimate, LEAST_MINUTES at least
    memory       MEMORY_MARGIN times the estimate, MEMORY_MB at least

The memory is that of the machine, not of its GPUs:

    student, train   on a CPU what training takes there; with GPUs each process reads the float32 weights through the
                     machine's memory, and holds its share of an offloaded optimizer; merging an adapter takes a
                     float32 copy of the weights
    eval             the float32 weights
    sample           KEY for each query of the source
    others           MEMORY_MB: 40,000 rows take as much as 4,000 (157 MB, `tokenize` 450 MB)

Each process takes RUNTIME_CPU more, and with a GPU RUNTIME_HOST. The estimates enter the executions of a plan, and no
id.

A spec that states less than is estimated gets a warning at that place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orcac.cost import memory
from orcac.cost.bill import price_flow
from orcac.cost.figures import Range
from orcac.cost.flow import Flow
from orcac.plan.file import MEMORY_MB
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.recipe import Estimate
from orcac.spec.load import Experiment, merge_problems
from orcac.spec.problems import Problem
from orcac.text import duration
from orcac.train.gpus import GIB
from orcac.train.recipe import TrainExecution

TIME_MARGIN, MEMORY_MARGIN = 2.0, 1.25
LEAST_MINUTES = 30
KEY = 32.0  # bytes of a query in the search for equal ones: 2.6 GB for 85.7 million
BRIEF = 300.0  # seconds; a node that takes less may share a job with another

_UNITS = {"time": 60.0, "memory": 2.0**20}  # of a spec's figures, in seconds and bytes
_SECTIONS = {"train": "train", "student": "train", "eval": "eval"}  # kind -> the part of `hardware`; others: `other`


class Need(NamedTuple):
    """The estimate of one job."""

    seconds: Range
    memory: float  # bytes of a machine


def estimate_jobs(flow: Flow) -> dict[str, Need]:
    """Return KIND/ID -> the need of the node's job, of each node that is not made yet."""
    costs = price_flow(flow)
    return {
        ref: Need(costs[ref].seconds, _machine_memory(flow, node))
        for ref, node in flow.plan.nodes.items()
        if ref not in flow.done
    }


def store_estimates(plan: Plan, needs: Mapping[str, Need]) -> None:
    """Put the estimates into the executions of the plan's nodes."""
    for ref, need in needs.items():
        node = plan.nodes[ref]
        estimate = Estimate(
            minutes=max(LEAST_MINUTES, math.ceil(TIME_MARGIN * need.seconds.high / 60)),
            memory_mb=max(MEMORY_MB, 100 * math.ceil(MEMORY_MARGIN * need.memory / 2**20 / 100)),
            is_brief=need.seconds.high <= BRIEF,
        )
        execution = node.execution.model_copy(update={"estimate": estimate})
        plan.nodes[ref] = node.model_copy(update={"execution": execution})


def find_short(flow: Flow, needs: Mapping[str, Need], experiment: Experiment) -> list[Problem]:
    """Return a warning for each `time` and `memory` of the spec that is less than the largest estimate of its jobs."""
    found: dict[str, list[Problem]] = {}
    addresses = flow.plan.experiments[experiment.base.spec.name].addresses
    for name, arm in experiment.arms.items():
        for (section, key), (needed, label) in _find_largest(flow.plan, needs, addresses[name].values()).items():
            asked, unit = getattr(getattr(arm.spec.hardware, section), key), _UNITS[key]
            if asked is None or needed <= asked * unit:
                continue
            if key == "time":
                text = f"takes about {duration(needed)}, and its time limit is {duration(asked * unit)}"
                hours = math.ceil(TIME_MARGIN * needed / 3600)
                fix = f"{hours} hours" if hours <= 48 else f"{math.ceil(hours / 24)} days"
            else:
                text = f"takes about {memory.gib(needed)} GiB of a machine, and `memory` asks for "
                text += f"{memory.gib(asked * unit)} GiB"
                fix = f"{math.ceil(needed / GIB)} GiB"
            message = f"warning: {label} {text}; write `{key}: {fix}`, or no `{key}`: then it is estimated"
            found.setdefault(name, []).append(Problem(arm.tree.locate(("hardware", section, key)), message))
    return merge_problems(experiment.base.tree, found)


def _find_largest(
    plan: Plan, needs: Mapping[str, Need], refs: Iterable[str]
) -> dict[tuple[str, str], tuple[float, str]]:
    """Return (part of `hardware`, key) -> the largest need of the jobs of `refs`, and the name of that job."""
    largest: dict[tuple[str, str], tuple[float, str]] = {}
    for ref in refs:
        if need := needs.get(ref):
            node = plan.nodes[ref]
            label, section = f"{node.kind} {node.label}", _SECTIONS.get(node.kind, "other")
            for key, value in (("time", need.seconds.mid), ("memory", need.memory)):
                largest[section, key] = max(largest.get((section, key), (0.0, "")), (value, label))
    return largest


def _machine_memory(flow: Flow, node: Node) -> float:
    """Return the bytes of each machine that the node's job needs; 0 if it needs no more than MEMORY_MB."""
    if node.kind == "sample":
        return KEY * (getattr(node.execution, "expect_queries", None) or flow.prompts(node.ref).count.mid)
    if node.kind not in ("student", "train", "eval"):
        return 0.0
    if node.kind == "train" and (stage := memory.find_stage(flow.plan, flow.store, node.ref)):
        return memory.machine_memory(stage)
    execution, model = node.execution, node.inputs["model"][0] if node.kind == "eval" else node.ref
    processes = (execution.gpus or execution.processes) if isinstance(execution, TrainExecution) else 1
    return memory.loaded_memory(flow.model(model).parameters.mid, processes, is_on_gpu=execution.gpus > 0)
