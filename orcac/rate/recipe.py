"""The recipe of `rate`, which makes `ratings.parquet` (orcac.ratings): a number for each answer of a dataset.

Inputs: `responses` (one collect node). All answers are read, before any filter. The value of a question is the mean
over those of its answers that have a rating.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, Recipe, rule
from orcac.summary import Summary

__all__ = ["VERSION", "RateExecution", "RateRecipe", "RateSummary"]

VERSION = 1  # raise it when the same recipe would give other ratings


class RateRecipe(Recipe):
    """The measure. `rating.py` defines each of them."""

    by: Literal["pass_rate", "length"]
    checker: str = ""  # of a pass rate: a name in `orcac.checkers`
    matching: int | None = rule(None)  # of a pass rate: `recipe.MATCHING`


class RateExecution(Execution):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSummary(Summary):
    """The figures of ratings."""

    kind: ClassVar[str] = "rate"

    answers: int  # answers = rated + the sum of unrated
    rated: int
    unrated: dict[str, int] = field(default_factory=dict)  # reason -> answers
    questions: int
    valued: int  # questions with at least one rating
    quartiles: tuple[float, float, float, float, float]  # of the questions' values: least, quartiles, largest
