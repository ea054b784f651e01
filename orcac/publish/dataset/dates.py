"""The dates of a teacher's answers, from the ledger that recorded them.

An answer may be older than the job that collected it, since all experiments share the ledger. Answers that no model was
asked for, those of a recording or the questions' own references, are in no ledger.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import NamedTuple

from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.upstream import read_upstream
from orcac.chat.questions import Questions
from orcac.collect.recipe import CollectRecipe
from orcac.plan.node import Node
from orcac.store.store import Store

__all__ = ["Dates", "Span"]


class Span(NamedTuple):
    """The first and the last day, in UTC as YYYY-MM-DD."""

    first: str
    last: str


class Dates:
    """The days on which the answers to some questions of a `collect` node were recorded, here or in the upstream."""

    def __init__(self, node: Node, store: Store) -> None:
        assert isinstance(node.recipe, CollectRecipe)
        self._recipe, self._store = node.recipe, store
        self._questions = Questions(node.recipe.template, tuple, system_role=node.recipe.system_role)
        self._keys: set[str] = set()

    def add(self, *, system: str, user: str, sample: int = 0) -> None:
        """Add the question with these texts, and this number of its sample."""
        if self._recipe.origin not in ("replay", "reference"):
            self._keys.add(self._questions.request(system=system, user=user, sample=sample).key)

    def find(self) -> Span | None:
        """Return the days of the first and the last answer to the questions; None if none is in the ledger.

        Raises StoreError if a record is damaged.
        """
        if not self._keys:
            return None
        own, upstream = self._store.answers, self._store.upstream_answers
        found = read_records(own, self._keys) if own.is_dir() else iter(())
        theirs = read_upstream(own, upstream, self._keys) if upstream else iter(())
        times = [
            record["at"]
            for record in chain(found, theirs)
            if record["key"] in self._keys and not record["response"]["error"]
        ]
        return Span(_day(min(times)), _day(max(times))) if times else None


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
