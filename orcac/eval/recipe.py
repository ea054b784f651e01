"""The recipe of `eval`, which makes `answers.parquet` (rows.Answer) and `scores.json` of one model on one benchmark.

Inputs: `items` (one sample node), and either `model` (a train or student node, which is asked) or `answers` (the
collect node of a baseline). A judged benchmark also has `against`: the collect nodes whose answers it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.chat.settings import EndpointSettings, Sampling
from orcac.recipe import Execution, Frozen, Recipe
from orcac.summary import Summary

__all__ = ["VERSION", "EvalExecution", "EvalRecipe", "EvalSummary", "Judge", "TaskCounts"]

VERSION = 1


class Judge(Frozen):
    """A model that compares two answers; it sees each pair in both orders."""

    model: str
    sampling: Sampling
    origin: Literal["api", "solver"] = "api"  # the kind of endpoint that answers under that name


class EvalRecipe(Recipe):
    """The settings under which a model answers, and the rule that reads its answers."""

    system_id: int = 1  # the paper evaluates under the empty message
    system: str = ""
    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    parser: Literal["first-capital", "final-answer"] = "final-answer"  # first-capital is the paper's (§4.2.2)
    judge: Judge | None = None  # of questions without a right answer


class EvalExecution(Execution):
    batch_size: int = 64
    gpu: str | None = None  # model of the GPU, for estimates
    judge: EndpointSettings | None = None  # the judge's endpoint


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The figures of one task."""

    n: int  # items
    correct: int
    unparsed: int  # items without an answer that the parser can read


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSummary(Summary):
    """The figures of an evaluation."""

    kind: ClassVar[str] = "eval"

    n: int  # items
    correct: int
    accuracy: float
    unparsed: int
    chance: float  # accuracy of guessing
    tasks: dict[str, TaskCounts] = field(default_factory=dict)
