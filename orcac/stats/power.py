"""The power of a planned comparison: which difference a number of items, samples and replicates could show.

The rule of `parts` is applied to expected variances. The variance between replicates is estimated from few of them, so
the power is averaged over the distribution of that estimate: chi-squared, on a grid of 50 quantiles for the two arms
and 50 for the rest of the study. If tasks are the units, the estimate of their variance is averaged over as well.
benchmarks/verdicts.py compares the result with simulation. Tasks count as equally large until their answers are there.

The items' part of an interval counts one item won and one lost beside those observed. The calculator leaves these out,
which makes the power somewhat too high for few items that rarely differ (benchmarks/README.md).

The inputs are variances, from finished replicates of this study or earlier ones (`estimate`), else PRIORS. They plan a
study and never enter a verdict. Nothing here corrects for the number of comparisons: for a family of m, pass
`level=0.05 / m`, which is what Holm's adjustment demands of its smallest p-value.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orcac.stats.intervals import Interval
from orcac.stats.parts import quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orcac.stats.averages import Average
    from orcac.stats.compare import Scores

__all__ = [
    "PRIORS",
    "PRIORS_OF_POINTS",
    "PRIOR_BETWEEN_TASKS",
    "Costs",
    "Design",
    "Estimate",
    "Variances",
    "best",
    "cheapest",
    "detectable",
    "estimate",
    "luck_interval",
    "power",
    "power_of_equality",
    "total_cost",
]

NODES = 50  # quantiles of each estimated variance; 200 change the power by less than 0.001
TASK_NODES = 16  # quantiles of the estimated variance over tasks; 200 change the power by less than 0.001
TARGET = 0.8
LARGEST = 0.9  # no plan is asked for a larger difference
MOST_RUNS = 20  # replicates of an arm in a search
MOST_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """The variances of the scores of a benchmark, for one replicate of each arm and one sample of each item."""

    luck: float  # standard deviation of an arm's true score over training seeds, a share
    discordance: float  # mean squared difference between arm and base on an item: the share on which they differ
    churn: float  # the same between two replicates of one arm
    between_tasks: float = 0.0  # standard deviation over tasks of the true difference between arm and base, a share
    sampling: float = 0.0  # variance of a sampled answer's score on an item, in shares squared; 0 for greedy answers

    def with_samples(self, samples: int) -> Variances:
        """Return the variances if an item's score is the mean over a number of samples."""
        less = 2 * self.sampling * (1 - 1 / samples)
        return replace(self, discordance=self.discordance - less, churn=self.churn - less)

    def of_means(self, runs: int) -> Variances:
        """Return the variances if each replicate is the mean over a number of runs, with `luck` that of the mean."""
        less = self.churn * (1 - 1 / runs)
        return replace(self, discordance=self.discordance - less, churn=self.churn - less)


PRIORS = (
    Variances(luck=0.01, discordance=0.36, churn=0.27),
    Variances(luck=0.02, discordance=0.36, churn=0.27),
)
"""Planning values where nothing was measured; show both, since the luck decides and is not known."""
PRIORS_OF_POINTS = (
    Variances(luck=0.01, discordance=0.032, churn=0.024),
    Variances(luck=0.02, discordance=0.032, churn=0.024),
)
"""The same for scores by a judge's points, of which 1 is 0 and 10 is 1.

Over the 80 recorded questions on which GPT-4 reviewed Vicuna-13B and Bard, whose totals are equal, the mean squared
difference is 0.032, and 0.013 between two reviews of the same answers. The churn is in the proportion of PRIORS.
"""
PRIOR_BETWEEN_TASKS = 0.06  # the same for `between_tasks`, which only a clustered average asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The size of a study on one benchmark."""

    items: int
    arms: int  # the base included; all but the base have the same number of replicates
    base_runs: int  # replicates of the base
    arm_runs: int  # replicates of each other arm
    samples: int = 1  # answers to each item
    tasks: int | None = None  # the number of tasks if they are the units (a clustered average)
    other_df: int | None = None  # replicates - 1, summed over the arms not compared; None if they are like this arm

    @property
    def runs(self) -> int:
        """Trainings in all."""
        return self.base_runs + (self.arms - 1) * self.arm_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Prices in one unit of the caller's choice, such as USD or GPU hours."""

    run: float  # one training
    answer: float  # one sample of one item


def total_cost(design: Design, costs: Costs) -> float:
    """Return the cost of all trainings and answers of a study, in the unit of `costs`."""
    return design.runs * (costs.run + design.items * design.samples * costs.answer)


def power(difference: float, design: Design, variances: Variances, level: float = 0.05) -> float:
    """Return the probability that a true difference (a share) is found significant at `level`.

    If nothing is replicated, this is the power over items alone: of "this model scores higher", not of a verdict.
    """
    import numpy as np
    from scipy import special

    half, error = _half_widths(difference, design, variances, level)
    return float(np.mean(special.ndtr((difference - half) / error) + special.ndtr((-difference - half) / error)))


def power_of_equality(margin: float, design: Design, variances: Variances) -> float:
    """Return the probability that two equal arms are found equal within `margin` (a share): 90 % intervals."""
    import numpy as np
    from scipy import special

    half, error = _half_widths(0.0, design, variances, 0.1)
    return float(np.mean(2 * special.ndtr(np.maximum(margin - half, 0.0) / error) - 1))


def _half_widths(
    difference: float, design: Design, variances: Variances, level: float
) -> tuple[NDArray[np.float64], float]:
    """Return equally likely half widths of the interval at confidence 1 - `level`, and the standard error."""
    import numpy as np

    variances = variances.with_samples(design.samples)
    share = 1 / design.base_runs + 1 / design.arm_runs
    noise = variances.churn / 2 / design.items
    own_df = design.base_runs + design.arm_runs - 2
    rest_df = (design.arms - 2) * (design.arm_runs - 1) if design.other_df is None else design.other_df
    shared = max(0.0, variances.discordance - variances.churn - difference**2) / design.items
    item, scale = quantile(level, math.inf), np.ones((1, 1, 1))
    if design.tasks is not None:
        shared += variances.between_tasks**2 / design.tasks
        item = quantile(level, design.tasks - 1)
        scale = _chi_squared(design.tasks - 1, TASK_NODES)[:, None, None]
    items = scale * (shared + share * noise)  # as the study estimates it
    if own_df + rest_df == 0:
        return item * np.sqrt(items), math.sqrt(shared + share * noise)
    training = share * (variances.luck**2 + noise)
    own = training * _chi_squared(own_df)[:, None]
    rest = training * _chi_squared(rest_df)[None, :]
    study = (own_df * own + rest_df * rest) / (own_df + rest_df)
    used = np.maximum(own, study) if own_df else study
    train = quantile(level, own_df + rest_df)
    seen = np.maximum(items - share * noise, 0.0)  # the shared part as the study estimates it
    squares = np.maximum(item**2 * items, item**2 * seen + train**2 * used)
    return np.sqrt(squares), math.sqrt(shared + training)


def detectable(design: Design, variances: Variances, level: float = 0.05, target: float = TARGET) -> float:
    """Return the smallest true difference, a share, that is found with probability `target`; inf if above 0.9."""
    if power(LARGEST, design, variances, level) < target:
        return math.inf
    low, high = 0.0, LARGEST
    while high - low > 1e-6:  # bisection: importing scipy.optimize would cost each `orcac diff` 0.2 s
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, design, variances, level) >= target else (middle, high)
    return high


def cheapest(
    difference: float,
    *,
    items: int,
    arms: int,
    variances: Variances,
    costs: Costs,
    tasks: int | None = None,
    budget: float = math.inf,
    level: float = 0.05,
    target: float = TARGET,
) -> Design | None:
    """Return the cheapest design that finds a true difference (a share) with probability `target`; None if none does.

    items: the items that the benchmark has; tasks: its tasks if they are the units. The search covers 2 to 20
    replicates an arm, up to twice as many of the base, half or a quarter of the items, and up to 8 samples if answers
    are sampled.
    """
    designs = sorted(_designs(items, arms, variances, tasks), key=lambda design: total_cost(design, costs))
    for design in itertools.takewhile(lambda design: total_cost(design, costs) <= budget, designs):
        if power(difference, design, variances, level) >= target:
            return design
    return None


def best(
    budget: float,
    *,
    items: int,
    arms: int,
    variances: Variances,
    costs: Costs,
    tasks: int | None = None,
    level: float = 0.05,
    target: float = TARGET,
) -> Design | None:
    """Return the design within `budget` that finds the smallest difference, of those that `cheapest` searches."""
    found, smallest = None, LARGEST
    affordable = [design for design in _designs(items, arms, variances, tasks) if total_cost(design, costs) <= budget]
    for design in sorted(affordable, key=lambda design: total_cost(design, costs), reverse=True):
        if power(smallest, design, variances, level) > target:
            found, smallest = design, detectable(design, variances, level, target)
    return found


def _designs(items: int, arms: int, variances: Variances, tasks: int | None) -> Iterator[Design]:
    sizes = [size for size in (items, items // 2, items // 4) if size > 1]
    samples = range(1, MOST_SAMPLES + 1) if variances.sampling else (1,)
    for arm_runs in range(2, MOST_RUNS + 1):
        for base_runs, size, answers in itertools.product(range(arm_runs, 2 * arm_runs + 1), sizes, samples):
            yield Design(items=size, arms=arms, base_runs=base_runs, arm_runs=arm_runs, samples=answers, tasks=tasks)


@functools.cache
def _chi_squared(df: int, nodes: int = NODES) -> NDArray[np.float64]:
    """Return equally likely values of an estimated variance over the true one; 0 if there is no estimate."""
    import numpy as np
    from scipy import special

    if df == 0:
        return np.zeros(1)
    return special.chdtri(df, 1 - (np.arange(nodes) + 0.5) / nodes) / df


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Variances estimated from finished replicates."""

    variances: Variances
    luck: Interval  # 95 %, of the standard deviation over training seeds, a share
    df: int  # degrees of freedom of the luck; 0 if nothing was replicated


def estimate(
    studies: Sequence[Sequence[Scores]],
    tasks: Sequence[Sequence[str]] | None = None,
    average: Average = "micro",
) -> Estimate | None:
    """Return the variances of finished studies on one benchmark, pooled; None if they show none.

    They show none if no arm is replicated, or if all runs score alike on every item, as students at the floor do.

    Each study is its arms' scores, the base first: float (replicates, items) in [0, 1] without NaN. tasks: for each
    study the tasks of its items; may be left out for `micro`.

    Discordance and churn are those of as many items of equal weight, which give the average the same variance.
    """
    import numpy as np

    from orcac.stats.compare import Layout, pooled, spread

    spreads, churns, discordances, between = [], [], [], []
    for number, arms in enumerate(studies):
        items = arms[0].shape[1]
        labels = np.zeros(items, int) if tasks is None else np.unique(tasks[number], return_inverse=True)[1]
        layout = Layout(labels, "micro" if average == "micro" else "macro")
        of_study = [spread(scores, layout) for scores in arms]
        spreads += of_study
        churns += [(2 * each.noise * layout.items, each.df) for each in of_study]
        noise = pooled(of_study).noise
        for scores in arms[1:]:
            means = scores.mean(axis=0)[None] - arms[0].mean(axis=0)
            variance, share = float(layout.variance(means)[0]), 1 / len(scores) + 1 / len(arms[0])
            # as if one run of each were compared
            discordances.append(layout.items * (variance + (2 - share) * noise) + float(layout.mean(means)[0]) ** 2)
            if average == "clustered":
                over_tasks = float(Layout(labels, "clustered").variance(means)[0])
                between.append(max(0.0, layout.tasks * (over_tasks - variance)))
    of_all = pooled(spreads)
    if of_all.df == 0:
        return None
    churn = sum(value * df for value, df in churns) / of_all.df
    discordance = max(churn, float(np.mean(discordances))) if discordances else churn
    if discordance == 0:
        return None
    between_tasks = math.sqrt(np.mean(between)) if between else 0.0
    return Estimate(
        variances=Variances(luck=of_all.luck, discordance=discordance, churn=churn, between_tasks=between_tasks),
        luck=luck_interval(of_all.between, of_all.noise, of_all.df),
        df=of_all.df,
    )


def luck_interval(between: float, noise: float, df: int) -> Interval:
    """Return the 95 % interval of the luck, given the variance between replicates and its part `noise`."""
    from scipy import special

    low, high = (max(0.0, between * df / float(special.chdtri(df, tail)) - noise) for tail in (0.025, 0.975))
    return Interval(math.sqrt(low), math.sqrt(high))
