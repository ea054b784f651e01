"""The difference between two arms on one benchmark, with an interval over items and training luck.

An arm is a table of scores, float (replicates, items) in [0, 1]; NaN marks an answer that failed, and its item leaves
the comparison. Both arms answer the same items, so the difference is taken item by item. Its variance has two parts:

- Drawing the items: the variance of the items' differences, as if one more item were won and one lost, so that no
  interval has zero width (after Bonett and Price 2012). Measured scores, such as losses, differ on every item and by
  little, so that a whole item would be many times their variance: theirs is as it is, with Student's t.
- Training again: the variance of the replicates' mean scores, pooled over all arms of the study, but never below that
  of the two arms compared. It contains the answers that change at random from replicate to replicate. Their share of
  the variance, from the residual of the table without its row and column means, is taken out of the items' part.

`parts` joins the two. If no arm is replicated, only the items' part is left, and McNemar's exact test decides. So it
is between two models that the study does not train, whatever it trains beside them. One such model against a trained
arm counts as an arm with one run, with the luck of the others: it has none of its own, so this errs to the safe side.

Replicates are not paired by their seed: pairing halves the degrees of freedom, and gains nothing unless seeds act alike
on different arms. Replicates train on the same data. To cover the draw of the data as well, pass one row for each
draw, the mean over its training seeds, with `redrawn=True`: the variance between rows then includes both.

An average is `micro`, `macro` or `clustered`; `averages` explains them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orcac.errors import InputError
from orcac.stats.averages import FEWEST_TASKS, Average
from orcac.stats.intervals import Interval, mcnemar
from orcac.stats.parts import Parts, half_width, p_value

__all__ = [
    "ArmRuns",
    "Comparison",
    "Layout",
    "Scores",
    "Spread",
    "compare",
    "compare_to_base",
    "compare_to_base_by_task",
    "pooled",
    "spread",
]

Scores = NDArray[np.float64]
Test = Literal["two parts", "items", "mcnemar"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the mean scores of replicates vary: of one arm, or of several arms pooled by their degrees of freedom."""

    between: float = 0.0  # variance of the replicates' mean scores, in shares squared
    noise: float = 0.0  # the part of `between` that comes from answers changing at random from replicate to replicate
    df: int = 0  # replicates - 1, summed over the arms

    @property
    def luck(self) -> float:
        """The standard deviation of an arm's true score over training seeds, a share."""
        return float(np.sqrt(max(0.0, self.between - self.noise)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRuns:
    """The replicates of one arm on one benchmark."""

    means: tuple[float, ...]  # the mean score of each replicate that counts, a share
    repeated: int  # replicates that do not count: an earlier one has the same score on every item
    spread: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An arm minus the base on one benchmark. Differences, intervals and luck are shares."""

    items: int  # answered by all replicates of both
    runs: tuple[int, int]  # replicates that count, of the arm and of the base
    repeated: tuple[int, int]  # replicates that do not count, of the arm and of the base
    difference: float
    interval: Interval  # 95 %, not adjusted for the number of comparisons
    p: float  # by `test`, not adjusted
    test: Test
    parts: Parts
    luck: float  # standard deviation of a true score over training seeds, as it enters the interval
    won: int  # items on which the arm's mean score is higher
    lost: int
    unequal: float | None  # p-value that the arms' spreads are equal, by F (`_unequal`); None if too few are replicated
    average: Average
    tasks: int | None  # the number of tasks if they are the units
    redrawn: bool  # replicates redraw the data as well
    untrained: tuple[bool, bool] = (False, False)  # the arm, the base: a model that the study does not train

    @property
    def is_replicated(self) -> bool:
        """Whether an arm of the study is replicated, so that the interval covers training luck."""
        return self.parts.df > 0

    @property
    def is_borrowed(self) -> bool:
        """Whether one of the two has a single run, so that its luck is taken from other arms."""
        return self.is_replicated and min(self.runs) == 1

    def interval_at(self, level: float) -> Interval:
        """Return the interval at confidence 1 - `level`, cut off at -1 and 1."""
        half = half_width(self.parts, level)
        return Interval(max(-1.0, self.difference - half), min(1.0, self.difference + half))


class Layout:
    """The items of a benchmark as their average weights them, and the sampling variance of that average.

    labels: int (items,), the task of each item. measured: whether scores are measured, and not counted.
    """

    def __init__(self, labels: NDArray[np.int_], average: Average, *, measured: bool = False) -> None:
        self.average, self.measured = average, measured
        self.items = len(labels)
        self.square = 1 / self.items  # the sum of the squared weights
        if average != "micro":
            self._order = np.argsort(labels, kind="stable")
            _, self._starts, self._sizes = np.unique(labels[self._order], return_index=True, return_counts=True)
            self.square = float(np.sum(1 / self._sizes)) / len(self._sizes) ** 2
        if average == "clustered":
            check_tasks(self.tasks)

    @property
    def least(self) -> float:
        """The variance that one item more won and one more lost would add, for a mean of one run."""
        return 0.0 if self.measured else self.square / (self.items - 1)

    @property
    def item_df(self) -> float:
        """The degrees of freedom of the items' part."""
        if self.average == "clustered":
            return self.tasks - 1
        return max(1, self.items - self.tasks) if self.measured else np.inf

    @property
    def tasks(self) -> int:
        """The number of tasks with items; 1 for the mean over items."""
        return 1 if self.average == "micro" else len(self._sizes)

    def mean(self, values: Scores) -> NDArray[np.float64]:
        """Return the weighted mean of each row of (rows, items)."""
        return (values if self.average == "micro" else self._task_means(values)).mean(axis=1)

    def variance(self, values: Scores) -> NDArray[np.float64]:
        """Return the variance of each row's mean over draws of the items, or of the tasks if they are the units.

        A task with one item shows no variance of its own; its distance from the mean of the row stands in for it.
        """
        if self.average == "micro":
            return values.var(axis=1, ddof=1) / self.items
        means = self._task_means(values)
        if self.average == "clustered":
            return means.var(axis=1, ddof=1) / self.tasks
        centres = np.where(self._sizes == 1, means.mean(axis=1, keepdims=True), means)
        squares = (values[:, self._order] - np.repeat(centres, self._sizes, axis=1)) ** 2
        of_tasks = np.add.reduceat(squares, self._starts, axis=1) / np.maximum(self._sizes - 1, 1)
        return (of_tasks / self._sizes).sum(axis=1) / self.tasks**2

    def _task_means(self, values: Scores) -> Scores:
        return np.add.reduceat(values[:, self._order], self._starts, axis=1) / self._sizes


def spread(scores: Scores, layout: Layout) -> Spread:
    """Return how the replicates of one arm vary; scores: float (replicates, items) without NaN."""
    df = len(scores) - 1
    if df < 1 or scores.shape[1] < 2:
        return Spread()
    noise = layout.variance(scores - scores.mean(axis=0)).sum() / df
    return Spread(between=float(layout.mean(scores).var(ddof=1)), noise=float(noise), df=df)


def compare(
    arm: Scores,
    base: Scores,
    others: Iterable[Spread] = (),
    *,
    layout: Layout,
    repeated: tuple[int, int] = (0, 0),
    redrawn: bool = False,
    untrained: tuple[bool, bool] = (False, False),
) -> Comparison:
    """Return the comparison of an arm with the base on 2 or more items.

    arm, base: float (replicates, items) in [0, 1] without NaN. others: the spreads of the study's other arms on this
    benchmark, by the same average. untrained: whether the arm, and the base, is a model that the study does not train.
    """
    if all(untrained):
        others = ()  # there is no training luck between two models that are not trained
    assert arm.shape[1] == base.shape[1] == layout.items >= 2
    differences = arm.mean(axis=0) - base.mean(axis=0)
    difference = float(layout.mean(differences[None])[0])
    share = 1 / len(arm) + 1 / len(base)
    of_arm, of_base, rest = spread(arm, layout), spread(base, layout), pooled(others)
    own = pooled([of_arm, of_base])
    study = pooled([own, rest])
    between = max(own.between, study.between)
    items = float(layout.variance(differences[None])[0]) + share * layout.least
    parts = Parts(
        items=items,
        shared=max(0.0, items - share * study.noise),
        training=share * between,
        df=study.df,
        item_df=layout.item_df,
    )
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    test: Test = "two parts" if study.df else "items"
    if test == "items" and layout.average == "micro" and _is_binary(arm) and _is_binary(base):
        test = "mcnemar"
    half = half_width(parts)
    return Comparison(
        items=layout.items,
        runs=(len(arm), len(base)),
        repeated=repeated,
        difference=difference,
        interval=Interval(max(-1.0, difference - half), min(1.0, difference + half)),
        p=mcnemar(won, lost) if test == "mcnemar" else p_value(difference, parts),
        test=test,
        parts=parts,
        luck=Spread(between=between, noise=study.noise).luck,
        won=won,
        lost=lost,
        unequal=_unequal(of_arm, of_base, rest, layout.items),
        average=layout.average,
        tasks=layout.tasks if layout.average == "clustered" else None,
        redrawn=redrawn,
        untrained=untrained,
    )


def compare_to_base(
    arms: Mapping[str, Scores],
    base: str,
    *,
    tasks: Sequence[str] | None = None,
    average: Average = "micro",
    redrawn: bool = False,
    repeated: Mapping[str, int] | None = None,
    untrained: Collection[str] = (),
    measured: bool = False,
) -> tuple[dict[str, ArmRuns], dict[str, Comparison]]:
    """Return the replicates of each arm, and the comparison with the base of each other arm.

    arms: float (replicates, items) in [0, 1], NaN for a failed answer; the same items in the same order for all arms.
    tasks: the items' tasks; may be left out for `micro`. untrained: the arms that the study does not train. measured:
    whether scores are measured numbers, and not rights and wrongs. An arm that shares fewer than 2 items with the base,
    or too few tasks for a clustered average, is left out.

    A replicate with the same score on every item as an earlier one does not count, because its seed had no effect. A
    caller that knows the answers can leave out those with the same answers instead, and pass their numbers in
    `repeated`: then all replicates count. Raises InputError if a clustered average has too few tasks in all.
    """
    assert tasks is not None or average == "micro"
    labels = np.zeros(arms[base].shape[1], int) if tasks is None else np.unique(tasks, return_inverse=True)[1]
    if average == "clustered":
        check_tasks(len(np.unique(labels)))
    counted = _counted(arms) if repeated is None else (arms, repeated)
    return _compare_all(*counted, base, labels, average, redrawn, untrained, measured)


def check_tasks(tasks: int) -> None:
    """Raise InputError if a clustered average has too few tasks."""
    if tasks < FEWEST_TASKS:
        raise InputError(
            f"a claim about tasks like these needs {FEWEST_TASKS} tasks or more, and here are {tasks}",
            fix="average over these tasks alone (macro), or add tasks to the benchmark",
        )


def compare_to_base_by_task(
    arms: Mapping[str, Scores],
    base: str,
    *,
    tasks: Sequence[str],
    redrawn: bool = False,
    repeated: Mapping[str, int] | None = None,
    untrained: Collection[str] = (),
    measured: bool = False,
) -> dict[str, dict[str, Comparison]]:
    """Return the comparisons of `compare_to_base` on each task alone, by task and arm; they carry no verdict."""
    counted, repeated = _counted(arms) if repeated is None else (arms, repeated)
    names, labels = np.unique(tasks, return_inverse=True)
    found = {}
    for index, task in enumerate(names):
        of_task = {name: scores[:, labels == index] for name, scores in counted.items()}
        alike = np.zeros(int(np.sum(labels == index)), int)
        found[str(task)] = _compare_all(of_task, repeated, base, alike, "micro", redrawn, untrained, measured)[1]
    return found


def _compare_all(
    arms: Mapping[str, Scores],
    repeated: Mapping[str, int],
    base: str,
    labels: NDArray[np.int_],
    average: Average,
    redrawn: bool,
    untrained: Collection[str],
    measured: bool,
) -> tuple[dict[str, ArmRuns], dict[str, Comparison]]:
    """Do as `compare_to_base`, with replicates that all count; labels: int (items,), the items' tasks."""
    answered = {name: np.flatnonzero(~np.isnan(scores).any(axis=0)) for name, scores in arms.items()}
    fewest_tasks = FEWEST_TASKS if average == "clustered" else 1

    def are_enough(items: NDArray[np.int_]) -> bool:
        return len(items) >= 2 and len(np.unique(labels[items])) >= fewest_tasks

    runs = {}
    for name, scores in arms.items():
        items = answered[name]
        layout = Layout(labels[items], average, measured=measured) if are_enough(items) else None
        runs[name] = ArmRuns(
            means=tuple(layout.mean(scores[:, items]).tolist()) if layout else (),
            repeated=repeated[name],
            spread=spread(scores[:, items], layout) if layout else Spread(),
        )
    comparisons = {}
    for name, scores in arms.items():
        items = np.intersect1d(answered[name], answered[base])
        if name == base or not are_enough(items):
            continue
        comparisons[name] = compare(
            scores[:, items],
            arms[base][:, items],
            [of_arm.spread for other, of_arm in runs.items() if other not in (name, base)],
            layout=Layout(labels[items], average, measured=measured),
            repeated=(repeated[name], repeated[base]),
            redrawn=redrawn,
            untrained=(name in untrained, base in untrained),
        )
    return runs, comparisons


def pooled(spreads: Iterable[Spread]) -> Spread:
    """Return the mean of several arms' spreads, weighted by their degrees of freedom."""
    spreads = list(spreads)
    df = sum(each.df for each in spreads)
    if df == 0:
        return Spread()
    return Spread(
        between=sum(each.between * each.df for each in spreads) / df,
        noise=sum(each.noise * each.df for each in spreads) / df,
        df=df,
    )


def _unequal(arm: Spread, base: Spread, rest: Spread, items: int) -> float | None:
    """Return the smallest p-value of the F tests of spreads that would make the interval too narrow.

    One test is of the two arms against the rest of the study, if they vary more; the other of the arm against the base,
    whichever varies more. None if neither can be made.
    """
    p_values = [_f_test(pooled([arm, base]), rest, items)]
    p_values += [None if p is None else min(1.0, 2 * p) for p in (_f_test(arm, base, items), _f_test(base, arm, items))]
    return min((p for p in p_values if p is not None), default=None)


def _f_test(first: Spread, second: Spread, items: int) -> float | None:
    """Return the one-sided p-value of the F test that the first varies no more than the second.

    Two replicates with equally many right answers would show no variance at all, so they count as half an item apart.
    """
    from scipy import special

    if first.df == 0 or second.df == 0:
        return None
    least = (0.5 / items) ** 2 / 2
    return float(special.fdtrc(first.df, second.df, max(first.between, least) / max(second.between, least)))


def _counted(arms: Mapping[str, Scores]) -> tuple[dict[str, Scores], dict[str, int]]:
    """Return each arm's replicates that differ from all earlier ones on some item, and the number of the others."""
    counted = {}
    for name, scores in arms.items():
        kept: list[Scores] = []
        for row in scores:
            if not any(np.array_equal(row, other, equal_nan=True) for other in kept):
                kept.append(row)
        counted[name] = np.array(kept)
    return counted, {name: len(scores) - len(counted[name]) for name, scores in arms.items()}


def _is_binary(scores: Scores) -> bool:
    return bool(((scores == 0) | (scores == 1)).all())
