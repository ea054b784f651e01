"""Lists the parts of a plan that are deferred: sources on a hub, and nodes that cannot be made yet.

A file on a hub is ordinary: a recipe holds its address, and it is fetched when its node is made, or before by `orcac
fetch`. A node that cannot be made yet has `blockers`: files that are not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from orcac.collect.recipe import CollectRecipe
from orcac.plan.asked import find_asked
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.recipe import HubRef
from orcac.sample.recipe import SampleRecipe
from orcac.student.recipe import StudentRecipe

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class HubSource(NamedTuple):
    """Files on a hub that a node reads."""

    kind: Literal["dataset", "model"]
    ref: HubRef
    format: str = ""  # of a query source, which reads the files of this format alone

    @property
    def address(self) -> str:
        """hf://OWNER/NAME@REVISION[/PATH]"""
        return f"hf://{self.ref.repo}@{self.ref.revision}" + (f"/{self.ref.path}" if self.ref.path else "")


def list_hub_sources(node: Node) -> tuple[HubSource, ...]:
    """Return the sources that a node fetches when it is made."""
    recipe = node.recipe
    if isinstance(recipe, SampleRecipe) and recipe.source:
        return tuple(HubSource("dataset", ref, recipe.source.format) for ref in recipe.source.hub)
    if isinstance(recipe, StudentRecipe) and recipe.pretrained and recipe.pretrained.hub:
        return (HubSource("model", recipe.pretrained.hub),)
    asked = find_asked(node)
    return tuple(_list_answerers(asked.recipe)) if asked else ()


def list_served_models(node: Node) -> tuple[HubSource, ...]:
    """Return the models that a vLLM server of the node's own loads from a hub, by itself."""
    asked = find_asked(node)
    if asked is None or asked.endpoint.kind != "vllm" or asked.endpoint.path:
        return ()
    model = asked.recipe.model
    is_on_hub = _REPOSITORY.fullmatch(model) and not Path(model).exists()
    return (HubSource("model", HubRef(repo=model)),) if is_on_hub else ()


def list_hub_addresses(node: Node) -> tuple[str, ...]:
    """Return the addresses of `list_hub_sources`."""
    return tuple(source.address for source in list_hub_sources(node))


def describe_deferred(plan: Plan) -> list[str]:
    """Return a line for each hub address and then one for each blocker of a plan, without repeats."""
    addresses = [address for node in plan.nodes.values() for address in list_hub_addresses(node)]
    blockers = [reason for node in plan.nodes.values() for reason in node.blockers]
    return [f"resolves later: {address}" for address in dict.fromkeys(addresses)] + [
        f"waits: {reason}" for reason in dict.fromkeys(blockers)
    ]


def _list_answerers(asked: CollectRecipe) -> Iterator[HubSource]:
    """Yield the recorded answers and the weights of a teacher or a judge."""
    for ref in asked.recording.hub if asked.recording else ():
        yield HubSource("dataset", ref)
    if asked.weights and asked.weights.hub:
        yield HubSource("model", asked.weights.hub)
