"""Comparisons with given parts, for tests that need no scores."""

from __future__ import annotations

import dataclasses
from typing import Any

from orcac.stats.compare import Comparison
from orcac.stats.intervals import Interval
from orcac.stats.parts import Parts, half_width, p_value


def comparison(difference: float, *, df: int = 8, **changes: Any) -> Comparison:
    """Return a comparison of 3 with 3 replicates on 1,000 items, with a luck of 0.9 points; `changes` are fields."""
    parts = Parts(items=9e-5, shared=4e-5, training=9e-5 if df else 0.0, df=df)
    half = half_width(parts)
    found = Comparison(
        items=1000,
        runs=(3, 3) if df else (1, 1),
        repeated=(0, 0),
        difference=difference,
        interval=Interval(difference - half, difference + half),
        p=p_value(difference, parts),
        test="two parts" if df else "mcnemar",
        parts=parts,
        luck=0.009,
        won=100,
        lost=80,
        unequal=None,
        average="micro",
        tasks=None,
        redrawn=False,
    )
    return dataclasses.replace(found, **changes)
