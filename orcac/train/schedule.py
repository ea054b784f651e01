"""The learning rate of each step of a stage.

The rate rises in equal parts to its largest value, which the last step of the warmup has, and then falls as the stage's
`schedule` says. No step has a rate of 0: the first step of a warmup of W steps has a W-th of the largest value.
"""

from __future__ import annotations

import math

from orcac.train.recipe import TrainRecipe

__all__ = ["compute_rate", "count_warmup_steps", "never_leaves_warmup"]


def count_warmup_steps(warmup: float, steps: int) -> int:
    """Return the number of warmup steps of a stage of `steps` steps; `warmup` is their fraction."""
    return math.ceil(warmup * steps)


def never_leaves_warmup(warmup: float, steps: int) -> bool:
    """Return whether the warmup takes all steps of a stage. One step of warmup is none: it has the whole rate."""
    return 1 < steps <= count_warmup_steps(warmup, steps)


def compute_rate(step: int, *, recipe: TrainRecipe, steps: int) -> float:
    """Return the learning rate of a step, counted from 0, of a stage of `steps` steps, as a fraction of the largest."""
    warmup = count_warmup_steps(recipe.warmup, steps)
    if step < warmup:
        return (step + 1) / warmup
    left = max(0, steps - step) / max(1, steps - warmup)  # the fraction of the steps after the warmup
    if recipe.schedule == "constant":
        return 1.0
    return left if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * (1 - left)))
