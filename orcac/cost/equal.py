"""The expected length of stages that are given in tokens or steps, or take those of another arm (`orcac.train.run`)."""

from __future__ import annotations

import math

from orcac.cost.figures import Range, sum_ranges
from orcac.cost.flow import Flow
from orcac.train.recipe import TrainRecipe

__all__ = ["estimate_steps", "estimate_tokens"]


def estimate_tokens(flow: Flow, ref: str) -> Range | None:
    """Return the tokens that a train node is trained on; None if its length is not in tokens."""
    node = flow.plan.nodes[ref]
    recipe = node.recipe
    assert isinstance(recipe, TrainRecipe)
    if recipe.steps or recipe.same_batches:
        return None
    tokens = [Range(float(recipe.tokens))] if recipe.tokens else []
    for twin, epochs in zip(node.inputs.get("same_as", ()), recipe.same_epochs, strict=True):
        rows = flow.rows(twin)
        tokens.append(rows.count * (rows.length * rows.fill * epochs))
    return sum_ranges(tokens) if tokens else None


def estimate_steps(flow: Flow, ref: str) -> Range | None:
    """Return the optimizer steps of a train node; None if its length is not in steps."""
    node = flow.plan.nodes[ref]
    recipe = node.recipe
    assert isinstance(recipe, TrainRecipe)
    steps = [Range(float(recipe.steps))] if recipe.steps else []
    if recipe.same_batches:
        for twin, epochs, batch in zip(node.inputs["same_as"], recipe.same_epochs, recipe.same_batches, strict=True):
            in_batches = flow.rows(twin).count / batch
            steps.append(in_batches.propagate(lambda batches: float(math.ceil(batches))) * epochs)
    return sum_ranges(steps) if steps else None
