"""The recipe of `score`, which makes `scores.parquet` (rows.Scored) and `scores.json` of one model on one benchmark.

Inputs: `items` (one sample node) and `answers` (an eval node, or the collect node of a baseline). A judged benchmark
also has `against`: the collect nodes whose answers it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.chat.settings import EndpointSettings, Sampling
from orcac.recipe import Execution, Frozen, Recipe, rule
from orcac.summary import Summary

__all__ = ["LIKELIHOOD_RULES", "VERSION", "Judge", "ScoreExecution", "ScoreRecipe", "ScoreSummary"]

VERSION = 1  # raise it when a checker would read or compare answers otherwise


LIKELIHOOD_RULES = {
    "choice": "likeliest choice",
    "mass": "probability of the right choices",
}  # as checkers' names


class Judge(Frozen):
    """A model that compares two answers; it sees each pair in both orders."""

    model: str
    sampling: Sampling
    origin: Literal["api", "solver"] = "api"  # the kind of endpoint that answers under that name


class ScoreRecipe(Recipe):
    """The way to score answers: by checkers, by the log-likelihoods of the choices (`score.likelihood`), or by a judge.

    The first checker's score decides; the others are for comparison.
    """

    checkers: tuple[str, ...] = ()  # names in `orcac.checkers`
    likelihood: Literal["choice", "mass"] | None = None
    judge: Judge | None = None  # of questions without a right answer
    matching: int | None = rule(None)  # `recipe.MATCHING`, if a checker may misread a copy of a reference


class ScoreExecution(Execution):
    judge: EndpointSettings | None = None  # the judge's endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary(Summary):
    """The figures of a benchmark's scores, over all tasks; `scores.json` has those of each task."""

    kind: ClassVar[str] = "score"

    n: int  # items that count: all but those that failed or are left out
    mean: float | None  # score over these, by the first checker; None if n is 0
    outcomes: dict[str, int]  # rows.Outcome -> items
    left_out: int  # items whose reference cannot be scored
    chance: float  # mean score of a guess
    others: dict[str, float] = field(default_factory=dict)  # further checker -> mean score
