"""Which questions several collect nodes share, so that no total pays for them twice.

The ledger gives one teacher's answer to a question to whoever asks it again. Subsets of one pool are nested (each is
its lowest tickets), so of every source of prompts a node asks the first part, and of two nodes of equal recipe the
larger part holds the smaller. That sees a subset beside its pool, two subsets, and sources that two datasets have in
common. It does not see what only texts can tell: sources that hold equal queries, and prompts that were worded anew
and happened to get the same message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from orcac.cost.flow import Flow
from orcac.plan.node import canonical
from orcac.sample.recipe import SampleRecipe


class Part(NamedTuple):
    """The first `share` of the prompts of one source, of which the store already answers the first `had`."""

    source: str  # KIND/ID of a sample node that is no subset
    share: float
    had: float
    size: float  # prompts in all of the source


class Questions(NamedTuple):
    teacher: str  # the collect node's recipe: who is asked, and how
    parts: tuple[Part, ...]

    @property
    def new(self) -> float:
        """How many of them the store does not answer."""
        return sum(part.size * max(0.0, part.share - part.had) for part in self.parts)


Seen = dict[tuple[str, str], float]  # (teacher, source) -> the share of it that is asked already


def questions(flow: Flow, ref: str, seen: Seen) -> Questions:
    """Those of a collect node; `seen` says what the store answers."""
    node = flow.plan.nodes[ref]
    teacher = canonical(node.recipe.model_dump(mode="json"))
    shares: dict[str, float] = {}
    for prompts in node.inputs["prompts"]:
        for source, share in _shares(flow, prompts).items():
            shares[source] = max(share, shares.get(source, 0.0))
    parts = (
        Part(source, share, seen.get((teacher, source), 0.0), flow.prompts(source).count.mid)
        for source, share in shares.items()
    )
    return Questions(teacher, tuple(parts))


def see(seen: Seen, asked: Questions) -> float:
    """Enter what a node asks; the share of its new questions that nobody of `seen` asks."""
    fresh = 0.0
    for part in asked.parts:
        key = (asked.teacher, part.source)
        known = seen.get(key, 0.0)
        fresh += part.size * max(0.0, part.share - max(known, part.had))
        seen[key] = max(known, part.share)
    return fresh / asked.new if asked.new else 0.0


def _shares(flow: Flow, ref: str) -> dict[str, float]:
    """Source -> the share of it that a sample node holds."""
    node = flow.plan.nodes[ref]
    recipe = node.recipe
    assert isinstance(recipe, SampleRecipe)
    if not recipe.subset:
        return {ref: 1.0}
    pool = _pooled(_shares(flow, part) for part in node.inputs["from"])
    size = sum(flow.prompts(source).count.mid * share for source, share in pool.items())
    drawn = min(1.0, recipe.subset.take / size) if size else 0.0
    return {source: share * drawn for source, share in pool.items()}


def _pooled(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    pool: dict[str, float] = {}
    for part in parts:
        for source, share in part.items():
            pool[source] = max(share, pool.get(source, 0.0))
    return pool
