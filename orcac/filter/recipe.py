"""The recipe of `filter`: it makes `kept.parquet` (rows.Response), `rejected.parquet` (rows.Rejected), `counts.json`.

Inputs: `responses` (one collect node), `benchmarks` (sample nodes; only if contamination is checked), `rated` (one rate
node of the same responses; only of a selection by a judge's points). Every row is kept or rejected for exactly one
reason, the first that applies in the order of `reasons.py`: the node fails unless read = kept + the sum of rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, Frozen, Recipe, rule
from orcac.summary import OMIT_NONE, Summary

__all__ = ["RENSA", "VERSION", "Bounds", "FilterExecution", "FilterRecipe", "FilterSummary", "Selection"]

VERSION = 1
RENSA = "0.5.0"  # as pyproject.toml pins it: another version may sketch a text in another way


class Bounds(Frozen):
    """The smallest and the largest length to keep, in tokens; None is no limit."""

    min: int | None = None
    max: int | None = None


class Selection(Frozen):
    """The answers to keep of each prompt: the first `keep` of those that `by` finds, or prefers."""

    by: Literal["verified", "majority", "shortest", "longest", "random", "judged"]
    keep: int = 1
    seed: int | None = None  # of a selection at random


class FilterRecipe(Recipe):
    """The rules that a response must pass. `reasons.py` states the order in which they are applied."""

    finish_reasons: tuple[str, ...] = ("stop",)  # the others are rejected; a request that failed always is
    min_characters: int = 1  # of the response, after stripping
    max_characters: int | None = None
    tokens: dict[Literal["answer", "reasoning", "both"], Bounds] = {}  # as `filter/lengths.py` counts them
    drop_refusals: bool = False
    agree_with_reference: bool = False  # reject if the parsed answer contradicts a known reference
    contradict_reference: bool = False  # reject if the parsed answer agrees with a known reference
    drop_unread: bool = False  # with one of these two: reject if nothing can be compared
    checker: str = "final-answer"  # a name in `orcac.checkers`, by which answers are read and compared
    drop_duplicates: bool = True  # same system message, query, reasoning and answer, after normalising white space
    drop_duplicate_questions: bool = False  # same query as another prompt
    drop_duplicate_answers: bool = False  # same reasoning and answer
    near: float | None = None  # the texts of these three rules also repeat each other if they are so similar (Jaccard)
    sketches: str | None = rule(None)  # with `near`: the version of rensa, which decides on its hash functions
    contamination_ngram: int | None = None  # reject a query that shares so many consecutive words with an item
    # of a benchmark (case and punctuation ignored); a shorter text must be equal as a whole
    contaminated_answers: bool = False  # with it: also reject an answer that shares so many words with an item
    select: Selection | None = None
    matching: int | None = rule(None)  # `recipe.MATCHING`, if references are compared: a copy of the reference agrees

    @property
    def is_reordered(self) -> bool:
        """True if the later order of `reasons.py` applies, since the recipe has a rule that the first order lacks."""
        later = (self.drop_duplicate_questions, self.drop_duplicate_answers, self.near, self.contaminated_answers)
        return bool(self.contradict_reference or self.drop_unread or self.select or any(later))


class FilterExecution(Execution):
    allow_empty: tuple[str, ...] = ()  # tasks of which no response may be kept


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSummary(Summary):
    """The figures of a filter."""

    kind: ClassVar[str] = "filter"

    read: int  # rows; read = kept + the sum of rejected
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows
    # share of the characters of the kept responses that are reasoning; None if none has any
    reasoning: float | None = field(default=None, metadata=OMIT_NONE)
