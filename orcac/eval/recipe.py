"""The recipe of `eval`, which makes `answers.parquet` (rows.Answer), the answers of one model to one benchmark.

Inputs: `items` (one sample node) and `model` (a train or student node); of the method `loss` also `texts`, the collect
node of the teacher whose answers are measured, unless the items' references are.

VERSION 1 also parsed and scored the answers. An evaluation that it finished is not generated again:
`EvalExecution.earlier` names the artifacts that would hold the same answers (`plan.earlier`), and `run` takes them from
one that is in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, Recipe
from orcac.summary import OMIT_NONE, Summary

__all__ = ["VERSION", "EvalExecution", "EvalRecipe", "EvalSummary", "Method", "explain_no_baseline"]

VERSION = 2
Method = Literal["generate", "likelihood", "likelihood-per-character", "loss"]


def explain_no_baseline(method: Method) -> str:
    """Return why a baseline has no row on a benchmark of this method; "" if it has one."""
    if method == "generate":
        return ""
    if method == "loss":
        return "it measures the log-likelihood of given texts, which baselines do not give"
    return "it compares the log-likelihoods of options, which baselines do not give"


class EvalRecipe(Recipe):
    """The settings under which a model answers."""

    system_id: int = 1  # the paper evaluates under the empty message
    system: str = ""
    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()  # strings that end an answer
    samples: int = 1  # answers to each item; the k-th is drawn from `seed` + k
    method: Method = "generate"
    reasoning: Literal["on", "off"] | int | None = None  # int: tokens; None: the model's own way


class EvalExecution(Execution):
    batch_size: int | None = None  # None: chosen for the device
    gpu: str | None = None  # model of the GPU, for estimates
    engine: Literal["transformers", "vllm"] = "transformers"
    shards: int = 1  # jobs that the items are split over
    earlier: tuple[str, ...] = ()  # KIND/ID of each artifact of VERSION 1 that would hold the same answers


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSummary(Summary):
    """The figures of an evaluation. VERSION 1 recorded only `n` of them."""

    kind: ClassVar[str] = "eval"

    n: int  # items
    cut: int = 0  # answers that the limit on their length cut off
    input_tokens: int = 0
    output_tokens: int = 0
    earlier: str = ""  # KIND/ID of the artifact that the answers were taken from; "" if they were generated
    shards: int | None = field(default=None, metadata=OMIT_NONE)  # jobs that answered; None: the node's own
    engine: str | None = field(default=None, metadata=OMIT_NONE)  # that generated the answers; None: transformers
