"""The model that a node asks through the ledger: a collect node's teacher, or the judge of scores or of ratings."""

from __future__ import annotations

from typing import NamedTuple

from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.plan.node import Node
from orcac.rate.recipe import RateExecution, RateRecipe
from orcac.score.recipe import ScoreExecution, ScoreRecipe

__all__ = ["Asked", "find_asked"]


class Asked(NamedTuple):
    """A model, the way in which it is asked, and its endpoint."""

    recipe: CollectRecipe
    endpoint: EndpointSettings


def find_asked(node: Node) -> Asked | None:
    """Return the model that a node asks, or whose recorded answers it reads; None for a node that needs no answers."""
    recipe, execution = node.recipe, node.execution
    if isinstance(recipe, CollectRecipe) and isinstance(execution, CollectExecution):
        return Asked(recipe, execution.endpoint)
    if not isinstance(recipe, ScoreRecipe | RateRecipe) or not isinstance(execution, ScoreExecution | RateExecution):
        return None
    return Asked(recipe.judge.asked, execution.judge) if recipe.judge and execution.judge else None
