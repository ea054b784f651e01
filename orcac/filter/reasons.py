"""Why a response is rejected: the rules of a recipe in their one order, each row rejected for the first
that applies.

A request that failed is rejected by its error's class whatever the recipe says. Cheap rules come before
dear ones, and duplicates are looked for among what the rules before them leave, so that a bad first answer
does not take a good second one with it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from orcac.checkers import final_answer, same_answer
from orcac.filter.contamination import Index, ngram_digests
from orcac.filter.recipe import FilterRecipe
from orcac.filter.refusals import is_refusal
from orcac.rows import Response

KEEP = ""


class Reasons:
    """Judges rows in order. `overlaps` counts, for each benchmark, the contaminated rows that overlap it."""

    def __init__(self, recipe: FilterRecipe, benchmarks: Mapping[str, Index]) -> None:
        self._recipe, self._benchmarks = recipe, benchmarks
        self._seen: set[bytes] = set()
        self.overlaps: Counter[str] = Counter(dict.fromkeys(benchmarks, 0))

    def judge(self, row: Response) -> str:
        """The reason to reject `row`, or KEEP."""
        recipe, text = self._recipe, row.response.strip()
        if row.error:
            return row.error
        if row.finish_reason not in recipe.finish_reasons:
            return f"finish_reason: {row.finish_reason or 'none'}"
        if len(text) < recipe.min_characters:
            return "too short"
        if recipe.max_characters is not None and len(text) > recipe.max_characters:
            return "too long"
        if recipe.drop_refusals and is_refusal(text):
            return "refusal"
        if recipe.agree_with_reference and contradicts_reference(row):
            return "contradicts reference"
        if recipe.drop_duplicates and self._is_duplicate(row):
            return "duplicate"
        if recipe.contamination_ngram is not None and self._overlaps(row.query, recipe.contamination_ngram):
            return "contamination"
        return KEEP

    def _is_duplicate(self, row: Response) -> bool:
        parts = (" ".join(text.split()) for text in (row.system, row.query, row.response))
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


def contradicts_reference(row: Response) -> bool:
    """Whether the answer read from the response differs from a known reference. One that cannot be read does not."""
    if not row.reference:
        return False
    parsed = final_answer(row.response, row.options, parser="final-answer")
    return bool(parsed) and not same_answer(parsed, row.reference)
