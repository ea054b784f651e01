"""Answers: system messages, the teachers and their endpoints, judges, and the datasets and filters of answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictBool, Tag

from orcac.chat.settings import Azure, Price, Sampling, SystemRole
from orcac.fields import NUMBERS_ONLY, Count, Number, Share, execution, label, semantic
from orcac.recipe import Frozen
from orcac.spec.schema.sources import MAX_BAD, GeneratedQueries, Queries
from orcac.spec.units import (
    CheckerName,
    Name,
    Paths,
    ShortForm,
    Variable,
)


class Draw(Frozen):
    always: tuple[int, ...] = semantic("numbers of the messages that any query may draw", min_length=1)
    multiple_choice: tuple[int, ...] = semantic("numbers of the messages for queries that list their options", ())
    mix: Literal["joined", "alone"] = semantic(
        "a query with options draws from both lists, or from `multiple_choice` only; the paper does not specify which",
        "joined",
    )


def is_drawn(source: Queries, draw: Draw | None) -> bool:
    """Return whether another seed would change the prompts of a source under a draw of system messages."""
    if isinstance(source, GeneratedQueries) or source.take or source.per_task:
        return True
    return draw is not None and len({*draw.always, *draw.multiple_choice}) > 1


def _expand_short_draw(value: object) -> object:
    """Return the full form of a draw that is written as a list of numbers."""
    return {"always": value} if isinstance(value, list | tuple) else value


Draws = dict[
    Name, Annotated[Draw, ShortForm(_expand_short_draw, {"type": "array", "items": {"type": "integer"}, "minItems": 1})]
]


class SystemMessages(Frozen):
    library: str | None = semantic(
        "YAML file of numbered messages, relative to the spec; the drawn messages enter ids by their text", None
    )
    messages: dict[int, str] = semantic("further messages by number; they replace messages of the library", {})
    draw: Draws = semantic(
        "query source -> the numbers of the messages it draws from; 1 (the empty message) when absent", {}
    )


class _ServedEndpoint(Frozen):
    concurrency: Count = execution(
        "largest number of requests in flight, over all jobs of the account; a new job gets its share within a second",
        32,
        unit="requests",
    )
    timeout: Number = execution("time after which a request counts as lost", 120.0, unit="seconds", gt=0)
    attempts: Count = execution("number of attempts after which a request's failure is final", 6)


class OpenAIEndpoint(_ServedEndpoint):
    kind: Literal["openai"] = semantic("any OpenAI-compatible server: OpenAI, Azure, vLLM, SGLang, Ollama ...")
    base_url: str | None = execution(
        "address of the server, such as http://localhost:8000/v1; OpenAI's when absent. With `azure`: the address of "
        "the resource, https://NAME.openai.azure.com, or the value of AZURE_OPENAI_ENDPOINT when absent",
        None,
    )
    azure: Azure | None = execution("use the addresses and the authentication of Azure OpenAI", None)
    api_key_env: Variable | None = execution(
        "NAME of the environment variable with the key; OPENAI_API_KEY when absent. With `azure`: "
        "AZURE_OPENAI_API_KEY, or AZURE_OPENAI_AD_TOKEN with a token of Entra ID if the first is not set",
        None,
    )
    headers: dict[str, Variable] = execution(
        "further headers of each request, such as `{X-Tenant: TENANT_TOKEN}`: header -> NAME of the environment "
        "variable with its value, which is never written down",
        {},
    )
    mode: Literal["online", "batch", "auto"] = execution(
        "online sends single requests; batch uses the Batch API, which answers within a day; auto uses the Batch API "
        "and then sends the unanswered requests one by one",
        "online",
    )
    requests_per_minute: Count | None = execution("limit of the account", None, unit="requests per minute")
    tokens_per_minute: Count | None = execution("limit of the account", None, unit="tokens per minute")
    ready_within: Number = execution(
        "time to wait at the start for a server that refuses connections because it is not up yet; without it, a "
        "request gives up after `attempts`",
        0.0,
        unit="seconds",
        ge=0,
    )


class VLLMEndpoint(_ServedEndpoint):
    kind: Literal["vllm"] = semantic("a model that `vllm serve` serves on the job's machine for the time of the job")
    path: str | None = execution("folder of the weights; when absent vLLM downloads the model by its name", None)
    arguments: tuple[str, ...] = execution(
        "further arguments of `vllm serve` that set sizes or speeds, such as [--max-model-len, '8192']; others must be "
        "named in the environment variable ORCAC_VLLM_ARGUMENTS",
        (),
    )
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution("number of GPUs of the job", 1)
    ready_within: Number = execution(
        "time after which a server that is not yet healthy counts as failed", 1800.0, unit="seconds", gt=0
    )


class LocalEndpoint(Frozen):
    kind: Literal["local"] = semantic("a model that the job itself loads (transformers), on the CPU or a GPU")
    path: str = semantic(
        "a Hugging Face model directory, relative to the spec, which enters by content; or "
        "hf://OWNER/NAME[@REVISION], which enters by this reference"
    )
    batch: Count | None = execution(
        "number of prompts answered at once; chosen for the device when absent", None, unit="prompts"
    )
    gpus: Annotated[int, Field(ge=0, le=1), NUMBERS_ONLY] = execution("number of GPUs of the job: 0 or 1", 0)


class SolverEndpoint(_ServedEndpoint):
    kind: Literal["solver"] = semantic(
        "the embedded teacher, a server on the loopback interface; its models are assistant, expert and judge"
    )


class ReplayEndpoint(Frozen):
    kind: Literal["replay"] = semantic("recorded answers, found by question and system message")
    path: Paths = semantic("files of answers, tables of any form that sources may have; they enter by content")
    fields: dict[Literal["question", "answer", "system", "id", "finish_reason", "reasoning"], str] = semantic(
        "orcac's field -> the file's key"
    )
    questions: Paths = semantic("file of the questions, if the answers name their questions by id only", ())
    question_fields: dict[Literal["id", "question"], str] = semantic(
        "orcac's field -> the key in the file of the questions", {}
    )
    samples: Count = semantic("answers to each question, one row for each; the k-th row is the k-th sample", 1)
    max_bad: Share | None = execution(MAX_BAD, None)


class ReferenceEndpoint(Frozen):
    kind: Literal["reference"] = semantic(
        "the reference answer of each query: the student is trained on a source's own labels"
    )


Endpoint = Annotated[
    OpenAIEndpoint | VLLMEndpoint | LocalEndpoint | SolverEndpoint | ReplayEndpoint | ReferenceEndpoint,
    Field(discriminator="kind"),
]


class Teacher(Frozen):
    model: str = semantic("name of the model at its endpoint", min_length=1)
    sampling: Sampling = semantic(
        "decoding parameters; as a baseline it is asked with the benchmark's, beside its own `seed` and `extra`",
        Sampling(),
    )
    endpoint: Endpoint = semantic("the server or record that answers")
    system_role: SystemRole = semantic(
        "role under which the system message is sent: system, developer, or user as a message of its own; none folds "
        "it into the user's turn, before the query, for a model that has no role for it",
        "system",
    )
    price: Price | None = execution("price of its tokens", None)
    expect: Count | None = execution(
        "expected mean length of an answer with its reasoning, until answers are measured", None, unit="tokens"
    )
    license: str = label(
        "licence or terms for the use of its answers, as its provider states them; the card of a dataset shows it", ""
    )

    @property
    def is_sampled(self) -> bool:
        """True if the teacher may give another answer when it is asked the same question again."""
        if isinstance(self.endpoint, OpenAIEndpoint | VLLMEndpoint):
            return self.sampling.temperature > 0 and self.sampling.seed is None
        if isinstance(self.endpoint, ReplayEndpoint):
            return self.endpoint.samples > 1
        return isinstance(self.endpoint, LocalEndpoint) and self.sampling.temperature > 0


class Judge(Frozen):
    teacher: Name = semantic("teacher that reviews the answers, or that holds recorded reviews (`kind: replay`)")
    form: Literal["pairwise", "scale", "verdict"] = semantic(
        "pairwise gives both answers of a pair 1 to 10 points, scale gives one answer 1 to 10 points, verdict names "
        "the better answer of a pair; pairs are shown in both orders",
        "pairwise",
    )
    prompt: str | None = semantic(
        "YAML file of the prompt (`reads`, `system`, `prompt`), relative to the spec, which enters by its content; the "
        "shipped ones of the form when absent, with those for the tasks `coding` and `math`",
        None,
    )
    per_category: dict[str, str] = semantic("task of the questions -> file of the prompt for them", {})
    temperature: Number = semantic("randomness of the reviews, instead of the teacher's", 0.2, ge=0, le=2)
    max_tokens: Count = semantic("largest length of a review", 1024, unit="tokens")
    recorded: Literal["reference-first", "candidate-first"] = semantic(
        "order in which recorded reviews saw the two answers; a judge that is asked sees both orders", "reference-first"
    )


class Contamination(Frozen):
    ngram: Count = semantic(
        "reject a query that has this many consecutive words in common with a benchmark item", 13, unit="words"
    )
    answers: StrictBool = semantic("also reject an answer that has so many words in common with one", False)
    before_asking: StrictBool = semantic(
        "leave out such queries before anything is asked, so that no answer to them is paid for; others are not drawn "
        "in their place",
        False,
    )


class Bounds(Frozen):
    min: Count | None = semantic("smallest length to keep", None, unit="tokens")
    max: Count | None = semantic("largest length to keep", None, unit="tokens")


class Selection(Frozen):
    by: Literal["verified", "majority", "shortest", "longest", "random", "judged"] = semantic(
        "verified keeps answers that agree with the known reference; majority those that agree with most answers to "
        "the prompt; shortest and longest count the tokens of reasoning and answer; random draws with the spec's seed; "
        "judged keeps those with the most points of a `judge`, which reviews all answers of the dataset"
    )
    judge: Name | None = semantic("with `by: judged`: one of `judges`, of the form scale", None)
    keep: Count = semantic("largest number of answers to keep of each prompt", 1, unit="answers")


class Duplicates(Frozen):
    of: tuple[Literal["example", "question", "answer"], ...] = semantic(
        "what is compared: the whole example with its system message, the questions of prompts, the answers with their "
        "reasoning",
        ("example",),
    )
    near: Share | None = semantic(
        "least similarity of two texts that count as repeated, such as 0.8: the Jaccard index of their runs of three "
        "words. When absent, texts are repeated if they differ in white space alone",
        None,
        gt=0,
    )


def _expand_short_duplicates(value: object) -> object:
    """Return the full form of duplicates that are written as one word."""
    words: dict[object, object] = {"drop": {"of": ("example",)}, "keep": {"of": ()}}
    return words.get(value, value) if isinstance(value, str) else value


def _expand_short_agreement(value: object) -> object:
    """Return the rule of agreement that is written as true or false."""
    return ("agrees" if value else None) if isinstance(value, bool) else value


class Filters(Frozen):
    finish_reason: tuple[str, ...] = semantic("finish reasons of the answers to keep", ("stop",))
    min_characters: Count = semantic("smallest length of an answer to keep", 1, unit="characters")
    max_characters: Count | None = semantic("largest length of an answer to keep", None, unit="characters")
    tokens: dict[Literal["answer", "reasoning", "both"], Bounds] = semantic(
        "lengths to keep, in the teacher's tokens: the count of its server, which answer and reasoning share in "
        "proportion to their characters",
        {},
    )
    student_tokens: dict[Literal["answer", "reasoning", "both"], Bounds] = semantic(
        "lengths to keep in tokens of the student, counted when the examples are packed: before `transform`, and after "
        "all other rules. An exported dataset has all lengths",
        {},
    )
    refusals: Literal["keep", "drop"] = semantic("answers in which the teacher declines to answer", "keep")
    agreement: Annotated[
        Literal["agrees", "contradicts"] | None, ShortForm(_expand_short_agreement, {"type": "boolean"})
    ] = semantic(
        "agrees drops answers that contradict a known reference answer, as `true` does; contradicts drops "
        "those that agree, which leaves wrong answers",
        None,
    )
    unread: Literal["keep", "drop"] = semantic(
        "with `agreement`: answers that cannot be compared, since no final answer is read or no reference is known",
        "keep",
    )
    checker: CheckerName = semantic(
        "rule by which `agreement` and `select` read answers and compare them", "final-answer"
    )
    duplicates: Annotated[Duplicates, ShortForm(_expand_short_duplicates, {"enum": ["keep", "drop"]})] = semantic(
        "rows that repeat an earlier one: `drop` is short for {of: [example]}, and `keep` for {of: []}", Duplicates()
    )
    contamination: Contamination | None = semantic("check the queries against every benchmark of the spec", None)
    select: Selection | None = semantic("the answers to keep of each prompt, after the rules above", None)
    allow_empty: tuple[str, ...] = execution(
        'tasks of which no answer may be kept, or globs such as "*"; of any other, the run stops', ()
    )


class ByJudge(Frozen):
    judge: Name = semantic("one of `judges`, of the form scale")


Measure = Annotated[
    Annotated[Literal["pass_rate", "length"], Tag("[name]")] | Annotated[ByJudge, Tag("[judge]")],
    Discriminator(lambda value: "[judge]" if isinstance(value, dict | ByJudge) else "[name]"),
]


class Sample(Frozen):
    from_: Name = semantic("dataset whose prompts are drawn", alias="from")
    take: Count = semantic(
        "number of prompts, drawn uniformly; each keeps its system message, and a smaller draw is a subset of a larger "
        "one",
        unit="prompts",
    )
    by: Measure | None = semantic(
        "value of a question, by the answers of that dataset before its filters: pass_rate is the share of right ones "
        "among those that its `filters.checker` can read and compare with the reference, and a cut one is wrong; "
        "length is the mean length of reasoning and answer in the teacher's tokens; `{judge: NAME}` is the mean of "
        "the 1 to 10 points that a judge gives the answers, and a cut one has 1. Needs `between` or `prefer`",
        None,
    )
    between: tuple[Number, Number] | None = semantic(
        "least and largest value of the questions that may be drawn, such as [0.1, 0.9]; questions without a value are "
        "not drawn",
        None,
    )
    prefer: Literal["low", "high"] | None = semantic(
        "draw the questions with the lowest or the highest values, instead of questions at random", None
    )


class Transform(Frozen):
    """Changes of each example's trace, applied in this order."""

    shuffle_steps: Share | None = semantic("share of the steps that change places, at random", None, gt=0)
    delete_steps: Share | None = semantic("share of the steps to leave out, at random", None, gt=0, lt=1)
    keep_tokens: Count | None = semantic(
        "length to which longer traces are cut, in tokens of the student", None, unit="tokens"
    )


class Dataset(Frozen):
    teacher: Name = semantic("teacher that answers")
    queries: tuple[Name, ...] = semantic("query sources", ())
    sample: Sample | None = semantic("instead of `queries`: a random subset of another dataset's prompts", None)
    draw: Draws = semantic(
        "system messages of this dataset, instead of system_messages.draw. With `sample` the queries stay the same and "
        "only their system messages are drawn again",
        {},
    )
    samples: Annotated[int, Field(ge=1, le=1000), NUMBERS_ONLY] = semantic(
        "answers to each prompt, which need a temperature above 0. Fewer are a part of more, so arms share them, and a "
        "teacher's `seed` is sent as `seed` + the number of the sample",
        1,
        unit="answers",
    )
    filters: Filters | None = semantic("rules for this dataset alone, merged over the spec's `filters`", None)
    transform: Transform | None = semantic(
        "change of the examples before they are packed; answers and filters are those of the dataset without it. A "
        "trace is the reasoning, or the answer without its last step if no reasoning is learnt. Steps are paragraphs; "
        "of a single paragraph its lines, of a single line its sentences",
        None,
    )
    shards: Annotated[int, Field(ge=1, le=1000), NUMBERS_ONLY] = execution("number of jobs that share the requests", 1)
