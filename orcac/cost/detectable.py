"""The smallest difference between an arm and the base that a plan could show, benchmark by benchmark.

Items and replicates are those of the plan. Where replicates are finished, the variances are measured (variances.py):
two sets, with the luck of training as estimated and at the upper end of its interval. Elsewhere they are planning
values (`stats.power.PRIORS`), two as well, since the luck decides and is not known before a training is repeated.

A comparison is found significant at 5 %, which Holm divides by the number of comparisons for the smallest p-value of
them. So a plan shows two figures: the difference that one comparison alone could show, and the one that it shows as
the first of all. If the spec names its primary arms, their comparisons alone are counted.

A judge's points spread less over items than right and wrong answers do, so they have planning values of their own. A
verdict of a judge (1, 0.5 or 0) is taken to spread like a right or wrong answer.

The loss of given texts has no planning values, and is not planned: its comparisons count for Holm alone.

A benchmark's average is respected. Tasks are as large as each other until finished answers show their sizes. A claim
about tasks like these needs their number; if that is unknown before the items are read, the figures are for these
tasks, and if it is too small, the comparisons are exploratory, as in the report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Literal

from orcac.cost.flow import Flow
from orcac.cost.prices import PRICERS
from orcac.cost.variances import measure_variances
from orcac.errors import InputError
from orcac.plan.node import Node
from orcac.plan.plan import Experiment
from orcac.report.recipe import Arm, Claim, ReportExecution, ReportRecipe
from orcac.score.recipe import HIGHEST, LOWEST, ScoreRecipe
from orcac.stats.averages import FEWEST_TASKS, Average
from orcac.stats.power import (
    LARGEST,
    PRIOR_BETWEEN_TASKS,
    PRIORS,
    PRIORS_OF_POINTS,
    Costs,
    Design,
    Estimate,
    Variances,
    detectable,
    power_of_equality,
)
from orcac.stats.verdict import LEVEL

__all__ = ["PlannedComparison", "RunPrices", "format_points", "list_comparisons", "price_runs"]

_smallest = functools.cache(detectable)  # a sweep has a thousand comparisons of one design
_equality = functools.cache(power_of_equality)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedComparison:
    """A comparison of an arm with the base on one benchmark, before it is made. Differences are shares."""

    benchmark: str
    arm: str
    design: Design
    runs_per_draw: int | None  # if replicates are draws of the data, the runs that each of them is the mean of
    family: int  # comparisons that Holm counts; 0 if this one is exploratory
    variances: tuple[Variances, ...]
    basis: str  # the source of `variances`, in words
    alone: tuple[float, ...]  # the smallest difference that it shows by itself, for each of `variances`
    adjusted: tuple[float, ...]  # the same as the first of its family; () if it is exploratory
    is_trained: bool = True  # the arm, or the base; if not, these are two models as they are
    average: Average = "micro"
    margin: float | None = None  # the share within which two arms are called equal
    equal: tuple[float, ...] = ()  # the probability that two equal arms are, for each of `variances`; () if they cannot

    @property
    def shown(self) -> tuple[float, ...]:
        """The figures that count: as the first of the family, or alone if there is none."""
        return self.adjusted or self.alone

    @property
    def is_replicated(self) -> bool:
        """Whether a verdict on the arm is possible."""
        return self.design.base_runs + self.design.arm_runs > 2 or bool(self.design.other_df)


def list_comparisons(flow: Flow, experiment: Experiment, luck: float | None = None) -> list[PlannedComparison]:
    """Return the comparisons of an experiment's report, benchmark by benchmark, in the order of the spec.

    luck: that of training to plan for, a share, instead of the measured one and of planning values

    A spec without a report has none.
    """
    plan = flow.plan
    if not experiment.report:
        return []
    report = plan.nodes[experiment.report]
    recipe, execution = report.recipe, report.execution
    assert isinstance(recipe, ReportRecipe)
    assert isinstance(execution, ReportExecution)
    measured = measure_variances(plan, flow.store, recipe)
    places = {name: place for place, name in enumerate(execution.order)}
    base, *others = recipe.arms
    others.sort(key=lambda arm: places.get(arm.name, len(places)))
    evaluations = sorted(base.evaluations, key=lambda one: places.get(one.benchmark, len(places)))
    items = {evaluation.benchmark: evaluation.items for evaluation in evaluations}
    in_points = {one.benchmark for one in evaluations if _is_in_points(plan.nodes[one.score])}
    names = {arm.name: {evaluation.benchmark for evaluation in arm.evaluations} for arm in recipe.arms}
    pairs = [(name, arm) for name in items for arm in others if name in names[arm.name]]
    measured_texts = {one.benchmark for one in evaluations if _measures_loss(plan.nodes[one.score])}
    claims = {name: _plan_claim(flow, recipe.claims.get(name, Claim()), items[name]) for name in items}
    exploratory = {name for name in items if name in recipe.exploratory or claims[name].is_refused}
    primary = recipe.primary or names.keys()
    in_family = {(name, arm.name) for name, arm in pairs if name not in exploratory and arm.name in primary}
    family = len(in_family)
    rows_of = {name: {one.name: _count_rows(one) for one in recipe.arms if name in names[one.name]} for name in items}
    df_of = {name: sum(count - 1 for count in rows.values()) for name, rows in rows_of.items()}
    found = []
    for name, arm in pairs:
        if name in measured_texts:
            continue
        rows = rows_of[name]
        base_rows, arm_rows = rows[base.name], rows[arm.name]
        is_trained = bool(base.stages or arm.stages)
        design = Design(
            items=max(2, round(flow.prompts(items[name]).count.mid)),
            arms=len(rows),
            base_runs=base_rows,
            arm_runs=arm_rows,
            other_df=df_of[name] - (base_rows - 1) - (arm_rows - 1) if is_trained else 0,
            tasks=claims[name].units,
        )
        is_primary = (name, arm.name) in in_family
        margin = claims[name].margin if is_primary and (base_rows + arm_rows > 2 or design.other_df) else None
        runs_per_draw = _runs_per_draw(arm)
        if name in measured:
            variances, basis = _read_estimate(measured[name], in_points=name in in_points)
        else:
            between_tasks = 0.0 if design.tasks is None else PRIOR_BETWEEN_TASKS
            known = PRIORS_OF_POINTS if name in in_points else PRIORS
            priors = (replace(values, between_tasks=between_tasks) for values in known)
            variances = tuple(values.of_means(runs_per_draw or 1) for values in priors)
            basis = _describe_priors(variances, in_points=name in in_points)
        if luck is not None:
            variances = (replace(variances[0], luck=luck),)
            basis = (
                f"For a luck of training of {100 * luck:.2g} points, as given; "
                f"{_describe_spread(variances[0], name in in_points)}."
            )
        basis = " ".join([basis, *claims[name].notes])
        found.append(
            PlannedComparison(
                benchmark=name,
                arm=arm.name,
                design=design,
                runs_per_draw=runs_per_draw,
                family=family if is_primary else 0,
                variances=variances,
                basis=basis,
                alone=tuple(_smallest(design, values, LEVEL) for values in variances),
                adjusted=tuple(_smallest(design, values, LEVEL / family) for values in variances if is_primary),
                is_trained=is_trained,
                average=claims[name].average,
                margin=margin,
                equal=() if margin is None else tuple(_equality(margin, design, values) for values in variances),
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedClaim:
    """The claim of a benchmark, with the number of its tasks if that is known."""

    average: Average
    margin: float | None  # a share
    tasks: int | None

    @property
    def is_refused(self) -> bool:
        return self.average == "clustered" and self.tasks is not None and self.tasks < FEWEST_TASKS

    @property
    def units(self) -> int | None:
        """The number of tasks if they are the units."""
        return self.tasks if self.average == "clustered" and not self.is_refused else None

    @property
    def notes(self) -> list[str]:
        if self.is_refused:
            return [
                f"A claim about tasks like these needs {FEWEST_TASKS} tasks or more, and here "
                f"{'is 1' if self.tasks == 1 else f'are {self.tasks}'}, so there will be no verdict."
            ]
        if self.average == "clustered" and self.tasks is None:
            return ["The number of tasks is not known before the items are read, so the figures are for these tasks."]
        return []


def _plan_claim(flow: Flow, claim: Claim, items: str) -> _PlannedClaim:
    margin = None if claim.margin is None else claim.margin / 100
    return _PlannedClaim(average=claim.average, margin=margin, tasks=flow.tasks(items))


def format_points(differences: Sequence[float]) -> str:
    """Return the smallest and the largest difference: "5.0 to 6.9"; "> 90" for one that nothing would show."""
    shown = [f"{100 * one:.1f}" if math.isfinite(one) else f"> {100 * LARGEST:.0f}" for one in differences]
    return " to ".join(dict.fromkeys(shown))


def _measures_loss(score: Node) -> bool:
    """Return whether a benchmark measures the loss of given texts."""
    return isinstance(score.recipe, ScoreRecipe) and score.recipe.likelihood == "loss"


def _is_in_points(score: Node) -> bool:
    """Return whether a judge gives points, which are not only right or wrong."""
    return (
        isinstance(score.recipe, ScoreRecipe)
        and score.recipe.judge is not None
        and score.recipe.judge.form != "verdict"
    )


def _read_estimate(found: Estimate, *, in_points: bool) -> tuple[tuple[Variances, ...], str]:
    """Return measured variances, with the luck as estimated and at the upper end of its interval, and their basis."""
    values, luck = found.variances, found.luck
    ends = f"{100 * luck.low:.1f} to {100 * luck.high:.1f}"
    basis = (
        f"Measured on finished replicates: luck of training {100 * values.luck:.1f} points (95 % {ends}; {found.df} "
        f"df), and the figures are for this and for {100 * luck.high:.1f}; {_describe_spread(values, in_points)}."
    )
    return (values, replace(values, luck=max(values.luck, luck.high))), basis


def _describe_priors(variances: Sequence[Variances], *, in_points: bool) -> str:
    lucks = " and ".join(f"{100 * values.luck:.2g}" for values in variances)
    return (
        f"Planning values, since no finished replicates measure them: luck of training {lucks} points; "
        f"{_describe_spread(variances[0], in_points)}."
    )


def _describe_spread(values: Variances, in_points: bool) -> str:
    """Return in words how far the scores of an item are apart; those of a judge in its own points, root mean square."""
    if in_points:
        apart, runs = ((HIGHEST - LOWEST) * math.sqrt(value) for value in (values.discordance, values.churn))
        return (
            f"the judge's scores of an item differ by {apart:.1f} of its points between arm and base, by {runs:.1f} "
            f"between two runs of one arm{_between_tasks(values)}"
        )
    return (
        f"arm and base differ on {values.discordance:.0%} of the items, two runs of one arm on "
        f"{values.churn:.0%}{_between_tasks(values)}"
    )


def _between_tasks(values: Variances) -> str:
    points = f"{100 * values.between_tasks:.1f}"
    return f"; their difference varies between tasks by {points} points" if values.between_tasks else ""


def _count_rows(arm: Arm) -> int:
    """Return the number of an arm's replicates: its draws of the data if there are several, else its runs."""
    draws = len({run.draw for run in arm.runs})
    return draws if draws > 1 else len(arm.runs)


def _runs_per_draw(arm: Arm) -> int | None:
    draws = len({run.draw for run in arm.runs})
    return len(arm.runs) // draws if draws > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrices:
    """The prices of one training and of one answer, whether or not they are paid already."""

    costs: Costs
    unit: Literal["USD", "GPU h", "h"]  # USD if the spec states a GPU's price, hours of machines if it uses no GPU


def price_runs(flow: Flow, experiment: Experiment, benchmark: str) -> RunPrices:
    """Return the mean prices over the trained arms that answer a benchmark; a teacher's answers are no part of them.

    Reviews of a judge are a part of them if prices are in USD.

    Raises InputError if none of these arms is trained.
    """
    plan = flow.plan
    recipe = plan.nodes[experiment.report].recipe
    assert isinstance(recipe, ReportRecipe)
    arms = [arm for arm in recipe.arms if arm.stages and any(one.benchmark == benchmark for one in arm.evaluations)]
    if not arms:
        fix = "leave out --detect and --budget: models that are not trained have no replicates to pay for"
        raise InputError(f"{experiment.spec}: no arm that answers `{benchmark}` is trained", fix=fix)
    stages = [[PRICERS["train"](flow, plan.nodes[stage.train], {}) for stage in arm.stages] for arm in arms]
    evals = [one for arm in arms for one in arm.evaluations if one.benchmark == benchmark]
    answers = [PRICERS["eval"](flow, plan.nodes[one.answers], {}) for one in evals]
    reviews = mean(PRICERS["score"](flow, plan.nodes[one.score], {}).usd_spec.mid for one in evals)
    items = max(1.0, flow.prompts(evals[0].items).count.mid)
    hours = sum(cost.gpu_hours.mid for costs in stages for cost in costs)
    if not hours:
        run = mean(sum(cost.seconds.mid for cost in costs) for costs in stages) / 3600
        return RunPrices(
            costs=Costs(run=run, answer=mean(cost.seconds.mid for cost in answers) / 3600 / items), unit="h"
        )
    run, answer = hours / len(arms), mean(cost.gpu_hours.mid for cost in answers) / items
    if usd := sum(cost.gpu_usd.mid for costs in stages for cost in costs):
        costs = Costs(run=run * usd / hours, answer=answer * usd / hours + reviews / items)
        return RunPrices(costs=costs, unit="USD")
    return RunPrices(costs=Costs(run=run, answer=answer), unit="GPU h")
