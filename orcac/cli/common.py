"""Steps that several commands share: compile specs, check their locks, warn."""

from __future__ import annotations

import contextlib
import difflib
import gc
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.cost import memory
from orcac.cost.outdated import describe_outdated
from orcac.cost.reasked import describe_reasked
from orcac.errors import InputError
from orcac.eval.recipe import explain_no_baseline
from orcac.plan.lock import check_pins, lock_path, read_lock
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.sharing import map_replicates
from orcac.plan.upgrade import OlderNodes, keep, read_pinned
from orcac.rate import wording
from orcac.rate.wording import NodeFacts
from orcac.spec.advice import find_warnings
from orcac.spec.finding import join_names
from orcac.spec.load import Experiment, load
from orcac.spec.models import find_broken_models
from orcac.spec.problems import Problem, SpecErrors
from orcac.store.store import Store
from orcac.study import Study, find_study
from orcac.text import clean

if TYPE_CHECKING:
    from orcac.cost.flow import Flow

STYLES = {"done": "green", "upstream": "blue", "making": "cyan", "failed": "red", "partial": "yellow", "to do": "dim"}


def compile_specs(specs: Sequence[str], *, pinned: bool = True) -> tuple[Plan, list[Experiment]]:
    """Load specs and lower them into one plan, without writing it. Return the plan and one experiment per spec.

    With `pinned`, the artifacts that a spec's lock pins stay in the plan even if an older VERSION made them.
    """
    plan = Plan()
    with gc_paused():
        experiments = [load(Path(spec)) for spec in specs]
        _review(experiments)
        for experiment in experiments:
            lower(plan, experiment)
    plan = _keep_pinned(plan) if pinned else plan
    replicates = map_replicates(plan)
    for experiment in experiments:
        for name, why in experiment.base.left_out.items():
            click.echo(clean(f"{experiment.file}: benchmark `{name}` is left out: {why}"), err=True)
        arms_by_nodes: dict[tuple[str, ...], list[str]] = {}
        for arm in experiment.arms:
            refs = plan.experiments[experiment.base.spec.name].arms[arm]
            arms_by_nodes.setdefault(tuple(ref for ref in refs if ref not in replicates), []).append(arm)
        for first, *others in arms_by_nodes.values():
            if others:
                click.echo(_warn_alike(experiment, first, others), err=True)
    return plan, experiments


def _review(experiments: Sequence[Experiment]) -> None:
    """Raise SpecErrors for models that cannot be loaded; warn about values that are most likely mistakes."""
    if problems := [problem for experiment in experiments for problem in find_broken_models(experiment)]:
        raise SpecErrors(problems)
    for experiment in experiments:
        for warning in find_warnings(experiment):
            click.echo(str(warning), err=True)


def _warn_alike(experiment: Experiment, first: str, others: Sequence[str]) -> str:
    """Return the warning that `others` make the same nodes as `first`.

    It names three of them at most, because a sweep over an unused field makes hundreds.
    """
    few = ", ".join(f"`{arm}`" for arm in others[:3])
    if len(others) == 1:
        text = f"the arm {few} makes the same nodes as `{first}`"
    else:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        text = f"{len(others):,} arms make the same nodes as `{first}`: {few}{more}"
    return str(Problem(experiment.arms[others[0]].mark, f"warning: {text}"))


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Turn the cycle collector off: it would walk a growing plan again and again and find nothing to free."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _keep_pinned(plan: Plan) -> Plan:
    """Return the plan with the pinned artifacts of older VERSIONs, and print their number by kind."""
    pins = read_pins({name: Path(item.spec) for name, item in plan.experiments.items()})
    if not pins:
        return plan
    kept_plan = keep(plan, pins, find_study(item.spec for item in plan.experiments.values()).store)
    kept = [node for node in kept_plan.nodes.values() if node.version is not None]
    if kept:
        kinds = Counter(node.kind for node in kept)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        click.echo(f"kept as pinned, though an older VERSION made them: {listed}", err=True)
    return kept_plan


def read_pins(specs: Mapping[str, Path]) -> dict[str, OlderNodes]:
    """Return the nodes that are pinned beside each spec that has a lock. Raises InputError if a lock is damaged."""
    locks = {name: lock_path(path) for name, path in specs.items()}
    return {
        name: read_pinned(read_lock(path)["nodes"].values()) for name, path in locks.items() if os.path.lexists(path)
    }


def check_locks(plan: Plan) -> None:
    """Raise PinError if a lock beside one of the specs pins an id that moved."""
    for experiment in plan.experiments.values():
        check_pins(plan, experiment, lock_path(Path(experiment.spec)))


def warn_outdated(plan: Plan, experiments: Sequence[Experiment], store: Store) -> list[str]:
    """Print and return lines on the artifacts of older VERSIONs: their number, the price of remaking them, the fix."""
    lines = describe_outdated(plan, store)
    for line in lines:
        click.echo(line, err=True)
    if lines:
        specs = shlex.join(str(experiment.file) for experiment in experiments)
        click.echo(f"  to keep them as they are: `orcac pin --keep {specs}`", err=True)
    return lines


def warn_reasked(plan: Plan, experiments: Sequence[Experiment], store: Store) -> list[str]:
    """Print and return lines on the answers of baselines that are asked for again with a benchmark's own sampling."""
    lines = describe_reasked(plan, experiments, store)
    for line in lines:
        click.echo(clean(line), err=True)
    return lines


def describe_new_store(store: Store) -> list[str]:
    """Return a line if the store holds nothing yet: a run asks everything, whatever other stores hold."""
    return [] if store.is_begun else [f"new store: {store.root.absolute()}"]


def describe_upstream(plan: Plan, study: Study) -> list[str]:
    """Return a line if the plan uses artifacts of the study's upstream: their number."""
    store = study.store
    count = sum(map(store.is_upstream, plan.nodes)) if store.upstream else 0
    where = study.upstream_url or store.upstream
    return [f"{count:,} of {len(plan.nodes):,} nodes are used from the upstream {where}"] if count else []


def describe_unmeasured(experiments: Sequence[Experiment]) -> list[str]:
    """Return a line for each benchmark that reads log-likelihoods, on which baselines have no row."""
    return [
        f"{experiment.file}: no row for {', '.join(experiment.base.spec.baselines)} on `{name}`: {why}"
        for experiment in experiments
        for name, benchmark in experiment.base.spec.benchmarks.items()
        if experiment.base.spec.baselines and (why := explain_no_baseline(getattr(benchmark, "method", "generate")))
    ]


def describe_choices(plan: Plan) -> list[str]:
    """Return a line for each dataset whose questions are chosen by values, for each order of examples by them, and for
    each judge of its own answers."""

    def find(ref: str) -> NodeFacts:
        node = plan.nodes[ref]
        return NodeFacts(node.content["recipe"], node.inputs)

    orders = (
        f"{node.label}: {line}"
        for ref, node in plan.nodes.items()
        if node.kind == "tokenize"
        for line in wording.describe_order(ref, find)
    )
    own = (
        f"{node.label}: {line}"
        for ref, node in plan.nodes.items()
        if node.kind == "rate"
        for line in wording.describe_own_judge(ref, find)
    )
    asked = ((node.label, ref) for ref, node in plan.nodes.items() if node.kind == "collect")
    chosen = (line for label, ref in asked for line in wording.describe_choices(label, ref, find))
    return [*dict.fromkeys((*chosen, *orders, *own))]


def check_memory(plan: Plan, experiments: Sequence[Experiment], store: Store) -> None:
    """Raise SpecErrors if a stage does not fit its GPU."""
    problems = [error for experiment in experiments for error in memory.find_errors(plan, experiment, store)]
    if problems:
        raise SpecErrors(problems)


def size_jobs(plan: Plan, experiments: Sequence[Experiment], store: Store) -> list[str]:
    """Estimate the jobs of a plan, and put the estimates into it. Return a line with the steps of each untrained stage.

    Print a warning for each stage that would learn little, and for each `time` and `memory` of a spec that is too
    small. Raises SpecErrors for stages whose warmup takes all of their counted steps.
    """
    if all(map(store.is_done, plan.nodes)):
        return []
    from orcac.cost import jobs, steps  # here, since they take a fifth of the time of a `compile`

    flow = steps.flow_quickly(plan, store)
    lines = _warn_short_stages(flow, experiments)
    needs = jobs.estimate_jobs(flow)
    for experiment in experiments:
        for problem in jobs.find_short(flow, needs, experiment):
            click.echo(str(problem), err=True)
    jobs.store_estimates(plan, needs)
    return lines


def split_target(target: str) -> tuple[str, str | None]:
    """Return the spec and the arm of SPEC or SPEC:ARM; None if no arm is named."""
    head, _, arm = target.rpartition(":")
    return (target, None) if Path(target).exists() or not head else (head, arm)


def unknown_arm(experiment: Experiment, arm: str) -> InputError:
    """Return the error of an arm that a spec does not have, with the nearest one."""
    near = difflib.get_close_matches(arm, experiment.arms, n=1)
    fix = f"did you mean `{near[0]}`? " if near else ""
    return InputError(
        f"{experiment.file}: no arm `{arm}`", fix=f"{fix}give one of its arms: {join_names(experiment.arms)}"
    )


def warn_short_stages(plan: Plan, experiments: Sequence[Experiment], store: Store) -> list[str]:
    """Print a warning for each stage that would learn little. Return a line with the steps of each untrained stage.

    Raises SpecErrors for stages whose warmup takes all of their counted steps.
    """
    if not any(node.kind == "train" and not store.is_done(ref) for ref, node in plan.nodes.items()):
        return []
    from orcac.cost import steps  # here, since it takes a fifth of the time of a `compile`

    return _warn_short_stages(steps.flow_quickly(plan, store), experiments)


def _warn_short_stages(flow: Flow, experiments: Sequence[Experiment]) -> list[str]:
    """Do what `warn_short_stages` does, for the estimated amounts of a plan."""
    from orcac.cost import steps

    lines = []
    for experiment in experiments:
        stages = steps.list_stages(flow, experiment)
        if problems := steps.find_long_warmups(stages, experiment):
            raise SpecErrors(problems)
        for problem in steps.find_short_stages(stages, experiment):
            click.echo(str(problem), err=True)
        lines += steps.describe_stages(stages)
    return lines
