"""Reasons to reject a response: the rules of a recipe in a fixed order, of which the first that applies counts.

A failed request is rejected under its error's class, whatever the recipe. Cheap rules come before expensive ones.
Duplicates are looked for among the rows that the earlier rules leave, so that a bad first answer does not cause a good
second one to be rejected.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from orcac.checkers import CHECKERS, Item, contradicts
from orcac.filter.contamination import Index, ngram_digests
from orcac.filter.lengths import count_tokens
from orcac.filter.recipe import FilterRecipe
from orcac.filter.refusals import is_refusal
from orcac.rows import Response

KEEP = ""


class Reasons:
    """A judge of rows, in order. `overlaps` counts, per benchmark, the contaminated rows that overlap it."""

    def __init__(self, recipe: FilterRecipe, benchmarks: Mapping[str, Index]) -> None:
        self._recipe, self._benchmarks = recipe, benchmarks
        self._seen: set[bytes] = set()
        self.overlaps: Counter[str] = Counter(dict.fromkeys(benchmarks, 0))

    def judge(self, row: Response) -> str:
        """Return the reason to reject `row`, or KEEP."""
        recipe, text = self._recipe, row.response.strip()
        if row.error:
            return row.error
        if recipe.drop_refusals and row.refusal:
            return "refusal"
        if row.finish_reason not in recipe.finish_reasons:
            return f"finish_reason: {row.finish_reason or 'none'}"
        if len(text) < recipe.min_characters:
            return "too short"
        if recipe.max_characters is not None and len(text) > recipe.max_characters:
            return "too long"
        if recipe.tokens and (reason := self._find_length(row)):
            return reason
        if recipe.drop_refusals and is_refusal(text):
            return "refusal"
        if recipe.agree_with_reference and contradicts_reference(row, recipe.checker):
            return "contradicts reference"
        if recipe.drop_duplicates and self._is_duplicate(row):
            return "duplicate"
        if recipe.contamination_ngram is not None and self._overlaps(row.query, recipe.contamination_ngram):
            return "contamination"
        return KEEP

    def _find_length(self, row: Response) -> str:
        """Return the reason to reject a row for a length in tokens, or KEEP."""
        lengths = count_tokens(row)
        for part, bounds in self._recipe.tokens.items():
            tokens, name = getattr(lengths, part), "answer and reasoning" if part == "both" else part
            if bounds.min is not None and tokens < bounds.min:
                return f"{name} too short"
            if bounds.max is not None and tokens > bounds.max:
                return f"{name} too long"
        return KEEP

    def _is_duplicate(self, row: Response) -> bool:
        texts = (row.system, row.query, row.response, *([row.reasoning] if row.reasoning else []))
        parts = (" ".join(text.split()) for text in texts)
        digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
        if digest in self._seen:
            return True
        self._seen.add(digest)
        return False

    def _overlaps(self, query: str, ngram: int) -> bool:
        digests = ngram_digests(query, ngram)
        found = [name for name, index in self._benchmarks.items() if not index.isdisjoint(digests)]
        self.overlaps.update(found)
        return bool(found)


def contradicts_reference(row: Response, checker: str) -> bool:
    """Return whether the response's answer differs from a known reference; False if no answer can be read."""
    item = Item(tuple(row.options), row.reference, row.query)
    return contradicts(row.response, item, CHECKERS[checker])
