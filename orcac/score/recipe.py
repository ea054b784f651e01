"""The recipe of `score`, which makes `scores.parquet` (rows.Scored) and `scores.json` of one model on one benchmark.

Inputs: `items` (one sample node) and `answers` (an eval node, or the collect node of a baseline). A judged benchmark
also has `against`: the collect nodes whose answers it is compared with, and leaves `reviews.parquet` (rows.Review). The
checker `form` also has `form_of`: the collect node whose wording it compares with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectRecipe
from orcac.recipe import Execution, Frozen, Recipe, rule
from orcac.summary import OMIT_NONE, Summary

__all__ = [
    "FORMS",
    "HIGHEST",
    "LIKELIHOOD_RULES",
    "LOWEST",
    "VERSION",
    "Form",
    "Judge",
    "JudgePrompt",
    "Reader",
    "ScoreExecution",
    "ScoreRecipe",
    "ScoreSummary",
]

VERSION = 1  # raise it when a checker would read or compare answers otherwise


LIKELIHOOD_RULES = {
    "choice": "likeliest choice",
    "mass": "probability of the right choices",
    "loss": "mean probability of a byte of the text",
}  # as checkers' names


LOWEST, HIGHEST = 1.0, 10.0  # points of a judge
Form = Literal["pairwise", "scale", "verdict"]
Reader = Literal["first-line", "last-scores", "rating", "verdict"]  # `score.judging.reading.READERS`
FORMS: dict[Form, tuple[tuple[Reader, ...], tuple[str, ...]]] = {
    "pairwise": (("first-line", "last-scores"), ("question", "answer_1", "answer_2")),
    "scale": (("rating",), ("question", "answer")),
    "verdict": (("verdict",), ("question", "answer_1", "answer_2")),
}  # form of a judge -> the parsers that suit it, and the slots that a prompt must have


class JudgePrompt(Frozen):
    """The words around the texts to judge, and the parser of the reviews. A recording has the parser alone."""

    reads: Reader
    system: str = ""
    text: str = ""  # with the fields of `orcac.slots`


class Judge(Frozen):
    """A model that reviews answers. It sees each pair in both orders; a recording saw them in one."""

    asked: CollectRecipe  # the model, its sampling, and the source of its reviews
    form: Form
    prompts: dict[str, JudgePrompt]  # task -> prompt; "" is for all other tasks
    recorded: Literal["reference-first", "candidate-first"] | None = None  # order of a recording


class ScoreRecipe(Recipe):
    """The way to score answers: by checkers, by log-likelihoods (`score.likelihood`), or by a judge.

    The first checker's score decides; the others are for comparison.
    """

    checkers: tuple[str, ...] = ()  # names in `orcac.checkers`
    likelihood: Literal["choice", "mass", "loss"] | None = None
    judge: Judge | None = None  # of questions without a right answer
    matching: int | None = rule(None)  # `recipe.MATCHING`, if a checker may misread a copy of a reference


class ScoreExecution(Execution):
    judge: EndpointSettings | None = None  # the judge's endpoint
    max_bad: float | None = None  # largest share of a recording's rows that cannot be read; None is the default


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
    # of a judge, None without one: its reviews, those that it refused or that have no scores, and their price
    reviews: int | None = field(default=None, metadata=OMIT_NONE)
    refused: int | None = field(default=None, metadata=OMIT_NONE)
    unread: int | None = field(default=None, metadata=OMIT_NONE)
    failed: dict[str, int] | None = field(default=None, metadata=OMIT_NONE)  # error class -> reviews
    omitted: dict[str, int] | None = field(default=None, metadata=OMIT_NONE)  # setting that it refuses -> reviews
    input_tokens: int | None = field(default=None, metadata=OMIT_NONE)
    output_tokens: int | None = field(default=None, metadata=OMIT_NONE)
    usd: float | None = field(default=None, metadata=OMIT_NONE)
