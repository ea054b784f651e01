"""The optimizer steps of the stages of a plan, and warnings of stages that have few (`orcac.tokenize.steps`).

A stage whose rows are counted, and whose warmup takes all of its steps, is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from orcac.cost import priors
from orcac.cost.equal import estimate_steps, estimate_tokens
from orcac.cost.figures import format_range
from orcac.cost.flow import Flow
from orcac.plan.plan import Plan
from orcac.plan.recipes import lower_schedule
from orcac.spec.load import Experiment, merge_problems
from orcac.spec.problems import Problem
from orcac.store.store import Store
from orcac.tokenize import steps
from orcac.tokenize.recipe import TokenizeExecution, TokenizeSummary
from orcac.tokenize.steps import Packed, Schedule
from orcac.train.schedule import never_leaves_warmup

_READ = 16 << 20  # bytes of a source's files that a quick estimate reads
_LONGEST = 4  # times the mean example: nearly all examples are shorter
_LISTED = 20  # stages whose steps are listed


class StageSteps(NamedTuple):
    """One stage of one arm, in its first run."""

    ref: str  # KIND/ID of its train node
    arm: str
    schedule: Schedule
    packed: Packed
    mixture: str  # the examples of each part of a mixture; "" of one dataset
    is_done: bool


def flow_quickly(plan: Plan, store: Store) -> Flow:
    """Return the amounts of a plan that are known or quick to estimate: without the ledger and large files."""
    return Flow(plan, store, looked_up=0, read_at_most=_READ, has_packing_range=False)


def list_stages(flow: Flow, experiment: Experiment) -> list[StageSteps]:
    """Return the stages of every arm, the base's first, without those whose number of rows cannot be estimated."""
    addresses = flow.plan.experiments[experiment.base.spec.name].addresses
    found = []
    for name, arm in experiment.arms.items():
        for stage in arm.spec.curriculum:
            ref = addresses[name][f"train/{stage}"]
            (needed,) = flow.plan.nodes[ref].inputs["rows"]
            rows = flow.rows(needed)
            if priors.QUERIES.name in rows.count.spread:
                continue
            packed = Packed(
                rows=rows.count.mid,
                fill=rows.fill,
                length=rows.length,
                is_exact=needed in flow.done,
                room=math.ceil(_LONGEST * rows.fill * rows.length / rows.per_row.mid),
            )
            mixture = describe_mixture(flow, needed)
            tokens, total = estimate_tokens(flow, ref), estimate_steps(flow, ref)
            schedule = lower_schedule(
                stage,
                arm.spec,
                tokens=round(tokens.mid) if tokens else None,
                steps=round(total.mid) if total else None,
            )
            found.append(StageSteps(ref, name, schedule, packed, mixture, ref in flow.done))
    return found


def describe_stages(stages: Iterable[StageSteps]) -> list[str]:
    """Return a line with the steps of each stage that is not trained yet, one for all arms of which it is the same."""
    arms: dict[tuple[str, str], list[str]] = {}
    for one in stages:
        if not one.is_done:
            key = (one.schedule.stage, steps.describe_steps(one.schedule, one.packed) + one.mixture)
            arms.setdefault(key, []).append(one.arm)
    lines = [
        f"stage {stage} of {names[0]}{f' and {len(names) - 1:,} more' * (len(names) > 1)}: {text}"
        for (stage, text), names in arms.items()
    ]
    return lines[:_LISTED] + ([f"and {len(lines) - _LISTED:,} more stages"] if len(lines) > _LISTED else [])


def describe_mixture(flow: Flow, ref: str) -> str:
    """Return the examples of each part of a mixture, as the end of a sentence; "" if the rows are of one dataset.

    ref: KIND/ID of the tokenize node
    """
    execution = flow.plan.nodes[ref].execution
    assert isinstance(execution, TokenizeExecution)
    if not execution.datasets:
        return ""
    made = flow.measured.record(TokenizeSummary, ref) if ref in flow.done else None
    if made and made.summary.parts:
        counts = [f"{part.dataset} {part.examples:,}" for part in made.summary.parts]
    else:
        named = zip(execution.datasets, flow.parts(ref), strict=True)
        counts = [f"{name} {format_range(part.count, lambda n: f'{n:,.0f}')}" for name, part in named]
    return f"; examples of {', '.join(sorted(counts))}"


def find_short_stages(stages: Iterable[StageSteps], experiment: Experiment) -> list[Problem]:
    """Return a warning for each stage that is not trained yet and would learn little, at its place in the spec."""
    found: dict[str, list[Problem]] = {}
    for one in stages:
        if not one.is_done and (text := steps.describe_shortage(one.schedule, one.packed)):
            mark = experiment.arms[one.arm].tree.locate(("stages", one.schedule.stage))
            found.setdefault(one.arm, []).append(Problem(mark, f"warning: {text}"))
    return merge_problems(experiment.base.tree, found)


def find_long_warmups(stages: Iterable[StageSteps], experiment: Experiment) -> list[Problem]:
    """Return an error for each stage that is not trained yet and whose warmup is as long as it, by its counted rows."""
    found: dict[str, list[Problem]] = {}
    for one in stages:
        arm = experiment.arms[one.arm]
        warmup, at = arm.spec.stages[one.schedule.stage].warmup, ("stages", one.schedule.stage)
        total = steps.count_steps(one.schedule, one.packed)
        if one.is_done or not one.packed.is_exact or one.schedule.tokens or not never_leaves_warmup(warmup, total):
            continue
        message = (
            f"the warmup of stage `{one.schedule.stage}` takes all of its steps, so that only the last has its "
            f"learning rate ({steps.describe_steps(one.schedule, one.packed)}); write a smaller share"
        )
        found.setdefault(one.arm, []).append(Problem(arm.tree.locate(at), message))
    return merge_problems(experiment.base.tree, found)
