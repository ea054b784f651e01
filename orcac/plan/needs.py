"""The optional parts of orcac that the nodes of a plan need where they are made."""

from __future__ import annotations

from collections.abc import Iterable

from orcac.errors import InputError
from orcac.extras import Extra, fix_of, is_installed
from orcac.filter.recipe import FilterRecipe
from orcac.plan.asked import find_asked
from orcac.plan.deferred import list_hub_addresses
from orcac.plan.node import Node
from orcac.rate.recipe import RateRecipe
from orcac.score.recipe import ScoreRecipe
from orcac.train.recipe import TrainRecipe

_BY_KIND: dict[str, Extra] = {
    "student": "train",
    "tokenize": "train",
    "train": "train",
    "eval": "train",
    "score": "measure",
    "report": "measure",
}


def list_extras(node: Node) -> set[Extra]:
    """Return the extras without which a node cannot be made."""
    found: set[Extra] = {_BY_KIND[node.kind]} if node.kind in _BY_KIND else set()
    recipe = node.recipe
    asked = find_asked(node)
    if asked and asked.recipe.origin == "local":
        found.add("train")
    if isinstance(recipe, FilterRecipe | RateRecipe) and recipe.checker == "math":
        found.add("math")
    if isinstance(recipe, FilterRecipe) and recipe.near is not None:
        found.add("near")
    if isinstance(recipe, ScoreRecipe) and "math" in recipe.checkers:
        found.add("math")
    if isinstance(recipe, TrainRecipe) and recipe.adapter:
        found.add("adapters")
        if recipe.adapter.quantize:
            found.add("quantize")
    if list_hub_addresses(node):
        found.add("hub")
    return found


def describe_missing(nodes: Iterable[Node]) -> tuple[list[str], str]:
    """Return a sentence for each extra that some of `nodes` need and that is not installed here, and the fix of all."""
    kinds: dict[Extra, dict[str, None]] = {}
    for node in nodes:
        for extra in list_extras(node):
            kinds.setdefault(extra, {})[node.kind] = None
    missing = [extra for extra in sorted(kinds) if not is_installed(extra)]
    sentences = [
        f"{', '.join(kinds[extra])} need{'s' * (len(kinds[extra]) == 1)} orcac[{extra}], which is not installed here"
        for extra in missing
    ]
    return sentences, fix_of(*missing)


def refuse_missing(nodes: Iterable[Node]) -> None:
    """Raise InputError if an extra that some of `nodes` need is not installed."""
    sentences, fix = describe_missing(nodes)
    if sentences:
        raise InputError("\n  ".join(sentences), fix=fix)
