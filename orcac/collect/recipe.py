"""The results of `collect`: `responses.parquet` (rows.Response), one teacher's answers to every prompt of its inputs.

Inputs: `prompts` (one or more sample nodes), in order, and `benchmarks` if contaminated prompts are left out. A prompt
that occurs twice is asked once. The samples of a prompt follow one another. The endpoint with its limits and prices,
and the number of shards, are Execution: an answer is recorded under a digest of its request, so neither the address nor
the shards change the result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from orcac.chat.settings import EndpointSettings, Sampling, SystemRole
from orcac.recipe import Execution, FileRef, Frozen, HubRef, Recipe, rule
from orcac.summary import OMIT_NONE, Summary

if TYPE_CHECKING:
    from orcac.chat.messages import ChatRequest

__all__ = ["VERSION", "CollectExecution", "CollectRecipe", "CollectSummary", "Recording", "Weights"]

VERSION = 1


class Recording(Frozen):
    """Recorded answers, matched to prompts by question, and by system message if the file has one.

    `answers` are tables; `fields` maps our names (question, answer, system, id, finish_reason, reasoning) to the file's
    keys. If a file has only the ids of its questions, `questions` are the files of their texts, with fields of their
    own (id, question).
    """

    answers: tuple[FileRef, ...]
    hub: tuple[HubRef, ...] = ()  # answers of dataset repositories, after those of `answers`
    fields: dict[str, str]
    questions: tuple[FileRef, ...] = ()
    question_fields: dict[str, str] = {}
    samples: int = 1  # answers to each question, one row for each


class Weights(Frozen):
    """A model that the job loads itself: the files of its folder by content, or its reference on a hub."""

    files: tuple[FileRef, ...] = ()  # name is the path relative to the folder; exactly one of files and hub
    hub: HubRef | None = None

    @property
    def digest(self) -> str:
        """16 hex digits that enter the key of a request: other weights give other answers."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class CollectRecipe(Recipe):
    """The teacher: model, decoding, and the source of the answers."""

    model: str
    sampling: Sampling
    # a served model, one that the job loads, the embedded one, a recording, or each prompt's own reference
    origin: Literal["api", "local", "solver", "replay", "reference"]
    weights: Weights | None = None  # of a model that the job loads
    solver_version: int | None = rule(None)  # of the embedded teacher, if that is the model
    recording: Recording | None = None
    system_role: SystemRole = "system"  # the role under which the system messages are sent
    sample_index: int = 0  # the number of the first answer, if each prompt is asked several times
    samples: int = 1  # answers to each prompt, one row for each
    contamination_ngram: int | None = None  # leave out a prompt whose query shares so many words with a benchmark item

    @property
    def template(self) -> ChatRequest:
        """The request that is sent for each prompt, still without messages."""
        from orcac.chat.messages import ChatRequest  # brings orjson, which the compiler does without

        return ChatRequest(
            model=self.model, messages=(), sampling=self.sampling, origin=self.answerer, sample_index=self.sample_index
        )

    def count_shared(self, other: CollectRecipe) -> int:
        """Return the number of answers to a prompt that nodes of the two recipes have in common."""
        alike = {"sample_index": 0, "samples": 1, "contamination_ngram": None}
        if self.model_copy(update=alike) != other.model_copy(update=alike):
            return 0
        end = min(self.sample_index + self.samples, other.sample_index + other.samples)
        return max(0, end - max(self.sample_index, other.sample_index))

    @property
    def answerer(self) -> str:
        """`ChatRequest.origin`: the source of the answers, with its version or the digest of its weights."""
        if self.weights:
            return f"{self.origin}/{self.weights.digest}"
        return self.origin if self.solver_version is None else f"{self.origin}/{self.solver_version}"


class CollectExecution(Execution):
    """The way in which the teacher is asked."""

    endpoint: EndpointSettings
    shards: int = 1  # jobs that the prompts are split over
    max_bad: float | None = None  # largest share of a recording's rows that cannot be read; None is the default
    expect_tokens: int | None = None  # mean length of an answer, for estimates until answers are measured


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSummary(Summary):
    kind: ClassVar[str] = "collect"

    prompts: int  # answers that were asked for, of each prompt one or more; prompts = answered + the sum of failed
    answered: int
    failed: dict[str, int] = field(default_factory=dict)  # error class -> prompts
    # decoding setting that the model refuses -> prompts that were asked without it
    omitted: dict[str, int] | None = field(default=None, metadata=OMIT_NONE)
    reasoned: int | None = field(default=None, metadata=OMIT_NONE)  # prompts whose response has reasoning; None if none
    contaminated: int | None = field(default=None, metadata=OMIT_NONE)  # prompts left out; None if none were looked for
    bad: int | None = field(default=None, metadata=OMIT_NONE)  # rows of the recording that cannot be read; None if none
    input_tokens: int = 0  # 0 if nothing counted them: a recording, or references
    output_tokens: int = 0
    usd: float = 0.0
