"""The recipe of `rate`, which makes `ratings.parquet` (orcac.ratings): a number for each answer of a dataset.

Inputs: `responses` (one collect node). All answers are read, before any filter. The value of a question is the mean
over those of its answers that have a rating. A judge's ratings also leave `reviews.parquet` (rows.Review), a row for
each answer that the judge was shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.chat.settings import EndpointSettings
from orcac.recipe import Execution, Recipe, rule
from orcac.score.recipe import Judge
from orcac.summary import OMIT_NONE, Summary

__all__ = ["VERSION", "RateExecution", "RateRecipe", "RateSummary"]

VERSION = 1  # raise it when the same recipe would give other ratings


class RateRecipe(Recipe):
    """The measure. `rating.py` and `judged.py` define each of them."""

    by: Literal["pass_rate", "length", "judge"]
    checker: str = ""  # of a pass rate: a name in `orcac.checkers`
    matching: int | None = rule(None)  # of a pass rate: `recipe.MATCHING`
    judge: Judge | None = None  # of the form scale


class RateExecution(Execution):
    judge: EndpointSettings | None = None  # the judge's endpoint


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
    # of a judge, None without one: the answers that it was shown, those that were cut or empty and have the least
    # points instead, those that imitate the marks of its prompt, and the price of the reviews
    reviews: int | None = field(default=None, metadata=OMIT_NONE)
    cut: int | None = field(default=None, metadata=OMIT_NONE)
    imitating: int | None = field(default=None, metadata=OMIT_NONE)
    omitted: dict[str, int] | None = field(default=None, metadata=OMIT_NONE)  # setting that it refuses -> reviews
    input_tokens: int | None = field(default=None, metadata=OMIT_NONE)
    output_tokens: int | None = field(default=None, metadata=OMIT_NONE)
    usd: float | None = field(default=None, metadata=OMIT_NONE)
