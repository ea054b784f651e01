"""The artifacts of VERSION 1 of `eval` that hold the answers of an evaluation of today.

VERSION 1 generated answers and parsed them in one node. Its recipe had today's fields and a parser, so the same
evaluation has one id for each parser. The texts do not depend on the parser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orcac.eval.recipe import EvalRecipe
from orcac.plan.node import IDENTITY, content_id

__all__ = ["list_earlier"]

_PARSERS: tuple[dict[str, object], ...] = ({}, {"parser": "first-capital"})  # {} is the default, `final-answer`


def list_earlier(recipe: EvalRecipe, inputs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the KIND/IDs that VERSION 1 gave to an evaluation with this recipe and these inputs; () if it had none."""
    if recipe.method != "generate" or recipe.samples > 1 or recipe.stop or recipe.reasoning:
        return ()
    fields = recipe.model_dump(mode="json", exclude_defaults=True)
    by_role = {role: list(refs) for role, refs in inputs.items()}
    return tuple(
        "eval/"
        + content_id({"identity": IDENTITY, "kind": "eval", "version": 1, "recipe": fields | parser, "inputs": by_role})
        for parser in _PARSERS
    )
