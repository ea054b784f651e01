"""Runs that were made again, against the runs that they repeat: the mean difference, with an interval over the luck.

Two runs of one pair have the same data, the same seed and the same items, so all that these are worth cancels. Only the
rounding of another machine is left, and what training makes of it. Hence each pair is one observation, and the variance
is that of the pairs' mean differences. Comparing the two groups as independent runs would count the luck of the seeds
and of the data as noise, and find that any study of few runs is repeated.

The parts of the variance are joined as in `compare`: training again, pooled over the arms of the study and never below
the arm's own; and the items, as if one more were won and one lost unless scores are measured. Pairs with identical
answers count: rounding did not reach them. If all are identical the difference is 0, and its interval has the width of
the items' part alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orcac.stats.averages import Average
from orcac.stats.compare import Comparison, Layout, Scores, Spread, Test, pooled, spread
from orcac.stats.intervals import Interval, mcnemar
from orcac.stats.parts import Parts, half_width, p_value

__all__ = ["compare_pairs"]

FEWEST = 2  # items


def compare_pairs(
    pairs: Mapping[str, Scores], *, labels: NDArray[np.int_], average: Average = "micro", measured: bool = False
) -> dict[str, Comparison]:
    """Return the comparison of each arm's runs that were made again with the runs that they repeat.

    pairs: float (pairs, items) in [-1, 1], a run's score of each item minus that of the run that it repeats; NaN for an
    answer that failed, and its item leaves the comparison. labels: int (items,), the items' tasks. measured:
    whether scores are measured numbers, and not rights and wrongs. An arm with fewer than 2 items is left out.
    """
    average = "macro" if average == "clustered" else average  # the same items again, so no claim about other tasks
    known = {name: np.flatnonzero(~np.isnan(table).any(axis=0)) for name, table in pairs.items()}
    kept = {
        name: (pairs[name][:, items], Layout(labels[items], average, measured=measured))
        for name, items in known.items()
        if len(items) >= FEWEST
    }
    spreads = {name: spread(table, layout) for name, (table, layout) in kept.items()}
    study = pooled(spreads.values())
    return {name: _compare(table, layout, spreads[name], study) for name, (table, layout) in kept.items()}


def _compare(table: Scores, layout: Layout, own: Spread, study: Spread) -> Comparison:
    pairs = len(table)
    differences = table.mean(axis=0)
    difference = float(layout.mean(differences[None])[0])
    between = max(own.between, study.between)
    items = float(layout.variance(differences[None])[0]) + 2 / pairs * layout.least
    parts = Parts(
        items=items,
        shared=max(0.0, items - study.noise / pairs),
        training=between / pairs,
        df=study.df,
        item_df=layout.item_df,
    )
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    test: Test = "two parts" if study.df else "items"
    if test == "items" and layout.average == "micro" and np.isin(table, (-1, 0, 1)).all():
        test = "mcnemar"
    half = half_width(parts)
    return Comparison(
        items=layout.items,
        runs=(pairs, pairs),
        repeated=(0, 0),
        difference=difference,
        interval=Interval(max(-1.0, difference - half), min(1.0, difference + half)),
        p=mcnemar(won, lost) if test == "mcnemar" else p_value(difference, parts),
        test=test,
        parts=parts,
        luck=Spread(between=between, noise=study.noise).luck,
        won=won,
        lost=lost,
        unequal=None,
        average=layout.average,
        tasks=None,
        redrawn=False,
    )
