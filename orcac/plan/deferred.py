"""Lists the parts of a plan that are deferred: sources on a hub, and nodes that cannot be made yet.

A file on a hub is ordinary: a recipe holds its address, and it is fetched when its node is made. A node that cannot be
made yet has `blockers`: files that are not here.
"""

from __future__ import annotations

from orcac.plan.asked import find_asked
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.recipe import HubRef
from orcac.sample.recipe import SampleRecipe
from orcac.student.recipe import StudentRecipe


def list_hub_addresses(node: Node) -> tuple[str, ...]:
    """Return the addresses (hf://OWNER/NAME@REVISION[/PATH]) that a node fetches when it is made."""
    hub: tuple[HubRef, ...] = ()
    if isinstance(node.recipe, SampleRecipe) and node.recipe.source:
        hub = node.recipe.source.hub
    elif (asked := find_asked(node)) and asked.recipe.recording:
        hub = asked.recipe.recording.hub
    elif isinstance(node.recipe, StudentRecipe) and node.recipe.pretrained and node.recipe.pretrained.hub:
        hub = (node.recipe.pretrained.hub,)
    return tuple(f"hf://{ref.repo}@{ref.revision}" + (f"/{ref.path}" if ref.path else "") for ref in hub)


def describe_deferred(plan: Plan) -> list[str]:
    """Return a line for each hub address and then one for each blocker of a plan, without repeats."""
    addresses = [address for node in plan.nodes.values() for address in list_hub_addresses(node)]
    blockers = [reason for node in plan.nodes.values() for reason in node.blockers]
    return [f"resolves later: {address}" for address in dict.fromkeys(addresses)] + [
        f"waits: {reason}" for reason in dict.fromkeys(blockers)
    ]
