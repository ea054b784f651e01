"""Reasons to reject a response: the rules of a recipe in a fixed order, of which the first that applies counts.

A failed request is rejected under its error's class, whatever the recipe. The others follow in this order:

    finish reason, refusals, length, agreement, contamination, selection, duplicates

A selection is among the answers to one prompt that the rules before it leave: a majority needs its votes. Duplicates
are looked for among the rows that all other rules leave, so that a bad first answer does not cause a good second one to
be rejected. Near duplicates come last, since they need all rows (`near.py`).

A recipe without the rules that came later (`FilterRecipe.is_reordered`) has the first order instead: length comes
before refusals, and duplicates before contamination. Both orders keep the same rows; they differ in the reasons of rows
with two faults, and what a finished artifact states must stay true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter

from orcac.collect.contamination import Benchmarks
from orcac.filter.agreement import find_disagreement
from orcac.filter.duplicates import PARTS, Seen, name_duplicate
from orcac.filter.lengths import count_tokens
from orcac.filter.recipe import FilterRecipe
from orcac.filter.refusals import is_refusal
from orcac.filter.selection import select
from orcac.rows import Response

KEEP = ""
_Rule = Callable[[Response], str]  # row -> the reason to reject it, or KEEP
# reasons of rows whose text another row has
DUPLICATES = frozenset(name_duplicate(part, is_near=is_near) for part in PARTS for is_near in (False, True))


class Reasons:
    """A judge of rows, in order. `overlaps` counts, per benchmark, the contaminated rows that overlap it."""

    def __init__(self, recipe: FilterRecipe, benchmarks: Benchmarks, points: Iterable[float | None] = ()) -> None:
        """points: of a selection by a judge, those of each row that will be judged here, in order"""
        self._points = iter(points)
        self._recipe, self._benchmarks = recipe, benchmarks
        self._seen = Seen(recipe)
        self.overlaps: Counter[str] = Counter(dict.fromkeys(benchmarks.names, 0))
        ended, long, refuses, disagrees = self._find_ending, self._find_length, self._find_refusal, self._find_answer
        self._before: tuple[_Rule, ...] = (
            ended,
            long,
            refuses,
            disagrees,
            self._seen.find_duplicate,
            self._find_overlap,
        )
        self._after: tuple[_Rule, ...] = ()
        if recipe.is_reordered:
            self._before = ended, refuses, long, disagrees, self._find_overlap
            self._after = (self._seen.find_duplicate,)

    def judge_all(self, rows: Iterable[Response]) -> Iterator[tuple[Response, str]]:
        """Yield each row with the reason to reject it, or KEEP. The answers to one prompt must follow one another."""
        for _, answers in groupby(rows, key=attrgetter("id")):
            some = list(answers)
            yield from zip(some, self._judge_prompt(some), strict=True)

    def _judge_prompt(self, rows: list[Response]) -> list[str]:
        """Return the reasons to reject the answers to one prompt."""
        reasons = [_find_first(self._before, row) for row in rows]
        if self._recipe.select:
            left = [number for number, reason in enumerate(reasons) if reason == KEEP]
            points = list(islice(self._points, len(rows)))
            selected = select(
                [rows[number] for number in left],
                self._recipe.select,
                self._recipe.checker,
                [points[number] for number in left] if points else (),
            )
            for number, reason in zip(left, selected, strict=True):
                reasons[number] = reason
        return [reason or _find_first(self._after, row) for row, reason in zip(rows, reasons, strict=True)]

    def _find_ending(self, row: Response) -> str:
        """Return the reason to reject a row for a failed request or the end of its answer, or KEEP."""
        if row.error:
            return row.error
        if self._recipe.drop_refusals and row.refusal:
            return "refusal"
        if row.finish_reason in self._recipe.finish_reasons:
            return KEEP
        return f"finish_reason: {row.finish_reason or 'none'}"

    def _find_length(self, row: Response) -> str:
        """Return the reason to reject a row for a length, or KEEP."""
        recipe, characters = self._recipe, len(row.response.strip())
        if characters < recipe.min_characters:
            return "too short"
        if recipe.max_characters is not None and characters > recipe.max_characters:
            return "too long"
        if not recipe.tokens:
            return KEEP
        lengths = count_tokens(row)
        for part, bounds in recipe.tokens.items():
            tokens, name = getattr(lengths, part), "answer and reasoning" if part == "both" else part
            if bounds.min is not None and tokens < bounds.min:
                return f"{name} too short"
            if bounds.max is not None and tokens > bounds.max:
                return f"{name} too long"
        return KEEP

    def _find_refusal(self, row: Response) -> str:
        return "refusal" if self._recipe.drop_refusals and is_refusal(row.response) else KEEP

    def _find_answer(self, row: Response) -> str:
        return find_disagreement(row, self._recipe)

    def _find_overlap(self, row: Response) -> str:
        """Return the reason to reject a row for a text that overlaps a benchmark's item, or KEEP."""
        recipe = self._recipe
        if recipe.contamination_ngram is None:
            return KEEP
        if self._overlaps(row.query, is_query=True):
            return "contamination"
        if recipe.contaminated_answers:
            answer = (row.reasoning, row.response) if row.reasoning else (row.response,)
            if self._overlaps(*answer, is_query=False):
                return "contaminated answer"
        return KEEP

    def _overlaps(self, *texts: str, is_query: bool) -> bool:
        found = self._benchmarks.find_overlaps(*texts, is_query=is_query)
        self.overlaps.update(found)
        return bool(found)


def _find_first(rules: Iterable[_Rule], row: Response) -> str:
    """Return the reason of the first rule that rejects a row, or KEEP."""
    return next(filter(None, (rule(row) for rule in rules)), KEEP)
