"""What a plan leaves for later: sources that are read when their node is made, and nodes that cannot be made yet.

The first are ordinary: a hub's file is named by its address and fetched at run time. The second have `waits`: a file
that is not here, or something that this version plans and prices but does not do.
"""

from __future__ import annotations

from orcac.collect.recipe import CollectRecipe
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.recipe import HubRef
from orcac.sample.recipe import SampleRecipe
from orcac.student.recipe import StudentRecipe


def fetched(node: Node) -> tuple[str, ...]:
    """The addresses on a hub that a node reads when it is made."""
    hub: tuple[HubRef, ...] = ()
    if isinstance(node.recipe, SampleRecipe) and node.recipe.source:
        hub = node.recipe.source.hub
    elif isinstance(node.recipe, CollectRecipe) and node.recipe.recording:
        hub = node.recipe.recording.hub
    elif isinstance(node.recipe, StudentRecipe) and node.recipe.pretrained and node.recipe.pretrained.hub:
        hub = (node.recipe.pretrained.hub,)
    return tuple(f"hf://{ref.repo}@{ref.revision}" + (f"/{ref.path}" if ref.path else "") for ref in hub)


def notes(plan: Plan) -> list[str]:
    """Both, as lines for people: each once."""
    read = [address for node in plan.nodes.values() for address in fetched(node)]
    waits = [reason for node in plan.nodes.values() for reason in node.waits]
    return [f"resolves later: {address}" for address in dict.fromkeys(read)] + [
        f"waits: {reason}" for reason in dict.fromkeys(waits)
    ]
