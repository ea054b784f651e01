"""The questions that several nodes share, so that no total counts them twice: those of collect nodes to teachers, and
those of rate nodes to a judge, which ask about each answer of a collect node.

The ledger gives a teacher's answer to every node that asks the same question. Subsets of one pool are nested, because
each takes the lowest tickets. So a node asks the first part of each of its sources, and if two nodes with equal recipes
ask the same source, the larger part contains the smaller. A subset that is drawn by values of its questions is a source
of its own, which is contained in its pool alone. This rule finds a subset beside its pool, two subsets of one
pool, and sources that two datasets have in common. It does not find questions that are equal in their texts alone:
sources with equal queries, and prompts that were drawn again and got the same message by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from orcac.collect.recipe import CollectRecipe
from orcac.cost.flow import Flow
from orcac.plan.node import Node, canonical
from orcac.rate.recipe import RateRecipe
from orcac.sample.recipe import SampleRecipe


class Part(NamedTuple):
    """The first `share` of the prompts of one source. The store has the answers to its first `answered` (a share)."""

    source: str  # KIND/ID of a sample node that is not a random subset
    share: float
    answered: float
    size: float  # prompts of the whole source
    pool: tuple[tuple[str, float], ...] = ()  # of a subset by values: the sources that contain it, and their shares


class AskedSources(NamedTuple):
    """The questions of one collect node, or those of one rate node to a judge."""

    parts: tuple[tuple[str, Part], ...]  # with the teacher of each

    @property
    def asked(self) -> float:
        """Return the number of questions."""
        return sum(part.size * part.share for _, part in self.parts)

    @property
    def unanswered(self) -> float:
        """Return the number of questions that the store does not answer."""
        return sum(part.size * max(0.0, part.share - part.answered) for _, part in self.parts)


# (teacher, source) -> the first share of the source that is asked. A teacher is the recipe of one sample of a collect
# node as JSON, after the judge of its answers if a rate node asks: two nodes with the same one share answers
AskedShares = dict[tuple[str, str], float]


def list_questions(flow: Flow, ref: str, answered: AskedShares) -> AskedSources:
    """Return the questions of a collect node, or those of a rate node to its judge.

    answered: the shares that the store answers
    """
    node, judge = flow.plan.nodes[ref], ""
    if isinstance(node.recipe, RateRecipe):
        assert node.recipe.judge is not None
        judge = canonical(node.recipe.judge.model_dump(mode="json"))
        node = flow.plan.nodes[node.inputs["responses"][0]]
    shares = _union(_shares(flow, prompts) for prompts in node.inputs["prompts"])
    pools = {source: _find_pool(flow, source) for source in shares}
    parts = (
        (
            teacher,
            Part(
                source,
                share,
                _find_asked(answered, teacher, source, pools[source]),
                flow.prompts(source).count.mid,
                pools[source],
            ),
        )
        for teacher in (judge + teacher for teacher in _list_teachers(node))
        for source, share in shares.items()
    )
    return AskedSources(tuple(parts))


def _find_pool(flow: Flow, source: str) -> tuple[tuple[str, float], ...]:
    """Return the shares of the sources that a subset by values is part of; () for any other source."""
    node = flow.plan.nodes[source]
    recipe = node.recipe
    if not (isinstance(recipe, SampleRecipe) and recipe.subset):
        return ()
    return tuple(_union(_shares(flow, part) for part in node.inputs["from"]).items())


def _find_asked(asked: AskedShares, teacher: str, source: str, pool: tuple[tuple[str, float], ...]) -> float:
    """Return the share of a source that is asked: all of it if its whole pool is."""
    if pool and all(asked.get((teacher, part), 0.0) >= share for part, share in pool):
        return 1.0
    return asked.get((teacher, source), 0.0)


def _list_teachers(node: Node) -> Iterator[str]:
    """Yield the recipe of each sample of a collect node as JSON."""
    recipe = node.recipe
    assert isinstance(recipe, CollectRecipe)
    for number in range(recipe.sample_index, recipe.sample_index + recipe.samples):
        sample = recipe.model_copy(update={"sample_index": number, "samples": 1, "contamination_ngram": None})
        yield canonical(sample.model_dump(mode="json"))


def add_questions(asked: AskedShares, questions: AskedSources) -> float:
    """Add a node's questions to `asked`, and return the fraction of its unanswered ones that was not there yet."""
    new = 0.0
    for teacher, part in questions.parts:
        key = (teacher, part.source)
        before = _find_asked(asked, teacher, part.source, part.pool)
        new += part.size * max(0.0, part.share - max(before, part.answered))
        asked[key] = max(before, part.share)
    return new / questions.unanswered if questions.unanswered else 0.0


def _shares(flow: Flow, ref: str) -> dict[str, float]:
    """Return source -> the share of its prompts that a sample node holds."""
    node = flow.plan.nodes[ref]
    recipe = node.recipe
    assert isinstance(recipe, SampleRecipe)
    if recipe.form:  # every question, each in another form than elsewhere
        return {ref: 1.0}
    if not recipe.subset or recipe.subset.is_by_value:
        return {ref: 1.0}
    pool = _union(_shares(flow, part) for part in node.inputs["from"])
    size = sum(flow.prompts(source).count.mid * share for source, share in pool.items())
    drawn = min(1.0, recipe.subset.take / size) if size else 0.0
    return {source: share * drawn for source, share in pool.items()}


def _union(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return source -> its largest share in any of the parts."""
    union: dict[str, float] = {}
    for part in parts:
        for source, share in part.items():
            union[source] = max(share, union.get(source, 0.0))
    return union
