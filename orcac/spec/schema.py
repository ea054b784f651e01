"""The language: what a spec may say. Every field is declared once, with its class, its unit and one line of help.

    semantic    changes what is made, so it enters the id of the nodes that feel it
    execution   changes where, how fast or for how much; never enters an id
    label       names and descriptions; never enters an id

Things with names are maps, so that a patch can reach them; order that matters is a list of names. Precedence,
lowest first: the defaults below, the spec, the arm's patch. Where the paper gives no value the default is ours.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

Class = Literal["semantic", "execution", "label"]


def _field(kind: Class, default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"class": kind}, **limits)


def semantic(help: str, default: Any = ..., **limits: Any) -> Any:
    return _field("semantic", default, help, **limits)


def execution(help: str, default: Any = ..., **limits: Any) -> Any:
    return _field("execution", default, help, **limits)


def label(help: str, default: Any = ..., **limits: Any) -> Any:
    return _field("label", default, help, **limits)


def _measure(pattern: str, shape: str, scales: dict[str, float]) -> BeforeValidator:
    """A number with a unit, as in `3 %`: `shape` is how it should look, `scales` what each unit is worth."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            found = re.fullmatch(rf"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*({pattern})\s*", value)
            if not found:
                raise PydanticCustomError("measure", "`{value}` is not {shape}", {"value": value, "shape": shape})
            return float(found[1].replace("_", "")) * scales[found[2]]
        return value

    return BeforeValidator(read)


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        shown = str(value).lower() if isinstance(value, bool) else value
        raise PydanticCustomError("number", "a number is wanted here, not `{value}`", {"value": shown})
    return value


_Number = BeforeValidator(_number)
Whole = Annotated[int, _Number]
Number = Annotated[float, _Number]
Count = Annotated[int, _Number, Field(ge=1)]
Rows = Annotated[
    int,
    _measure("rows?", "a number of rows, such as `160 rows`", {"row": 1, "rows": 1}),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9_]+ rows?$"}]}),
]
Share = Annotated[
    float,
    _measure("%", "a share, such as `3 %` or 0.03", {"%": 0.01}),
    Field(ge=0, le=1),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]}),
]
Dollars = Annotated[
    float,
    _measure("USD", "an amount, such as `60_000 USD`", {"USD": 1}),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "USD$"}]}),
]
Megabytes = Annotated[
    int,
    _measure("MiB|GiB", "a size, such as `8 GiB`", {"MiB": 1, "GiB": 1024}),
    Field(ge=100),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "[MG]iB$"}]}),
]
Minutes = Annotated[
    int,
    _measure(
        "minutes?|hours?|days?",
        "a duration, such as `2 hours`",
        {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1440, "days": 1440},
    ),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Part(BaseModel):
    """Base of every part of a spec: strict about keys, immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- queries and benchmarks ---------------------------------------------------------------------------------


class _Generated(Part):
    format: Literal["puzzles"] = semantic("generated reasoning tasks in the BIG-Bench-Hard manner")
    task: Literal[
        "boolean_expressions",
        "web_of_lies",
        "navigate",
        "tracking_shuffled_objects",
        "object_counting",
        "logical_deduction",
    ] = semantic("which task")
    size: tuple[Count, Count] = semantic("difficulty, from and to (inclusive): literals, people, steps or objects")
    take: Count = semantic("how many to generate")


class _Files(Part):
    path: Paths = semantic(
        "files or globs; enter the id by content and base name, never by folder; ${NAME} is the environment's"
    )
    tasks: tuple[str, ...] = semantic("keep these tasks alone", ())
    take: Count | None = semantic("how many queries; all when absent", None)
    per_task: Count | None = semantic("at most so many of each task", None)
    sampling: Literal["by-task", "uniform"] = semantic(
        "by-task draws a task first, then a query (the paper's Algorithm 1); uniform ignores tasks", "by-task"
    )


class _Jsonl(_Files):
    format: Literal["jsonl"] = semantic("one JSON object a line, read by `fields`")
    fields: dict[Literal["query", "reference", "task", "options"], str] = semantic(
        "our name -> the file's key; dots reach inside, as in `messages.1.content`"
    )


class _KnownForm(_Files):
    format: Literal["flan-cot", "natural-instructions", "bbh", "agieval"] = semantic("a published file format")


class GeneratedQueries(_Generated):
    pass


class JsonlQueries(_Jsonl):
    pass


class FormQueries(_KnownForm):
    pass


Queries = Annotated[GeneratedQueries | JsonlQueries | FormQueries, Field(discriminator="format")]


class _Protocol(Part):
    system: Whole = semantic("number of the system message to evaluate under; the paper's is 1, the empty one", 1)
    temperature: Number = semantic("0 is greedy; the paper's open-ended runs use 0.7", 0.0, ge=0, le=2)
    top_p: Number = semantic("nucleus of the sampling", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("tokens that an answer may have", 256)
    parser: Literal["final-answer", "first-capital"] = semantic(
        "how the answer is found; first-capital is the paper's rule", "final-answer"
    )
    optional: bool = execution("leave the benchmark out where its path names an unset variable or no file", False)


class GeneratedBenchmark(_Generated, _Protocol):
    pass


class JsonlBenchmark(_Jsonl, _Protocol):
    pass


class FormBenchmark(_KnownForm, _Protocol):
    pass


Benchmark = Annotated[GeneratedBenchmark | JsonlBenchmark | FormBenchmark, Field(discriminator="format")]


# --- system messages, teachers, datasets, filters ------------------------------------------------------------


class Draw(Part):
    always: tuple[int, ...] = semantic("messages drawn for every query", min_length=1)
    multiple_choice: tuple[int, ...] = semantic("messages added for queries that list their options", ())


def _short_draw(value: Any) -> Any:
    return {"always": value} if isinstance(value, list | tuple) else value


Draws = dict[Name, Annotated[Draw, BeforeValidator(_short_draw)]]


class SystemMessages(Part):
    library: str | None = semantic("a YAML file of numbered messages, relative to the spec; enters by text", None)
    messages: dict[int, str] = semantic("further messages by number; they win over the library's", {})
    draw: Draws = semantic("query source -> the numbers that its messages are drawn from; 1 (empty) when absent", {})


class Sampling(Part):
    temperature: Number = semantic("randomness of decoding; the paper's is 0.7", 1.0, ge=0, le=2)
    top_p: Number = semantic("nucleus of the sampling; the paper's is 0.95", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("tokens that an answer may have", 1024)
    seed: Whole | None = semantic("sent to the endpoint, which may honour it", None)
    extra: dict[str, int | float | str | bool] = semantic("sent in the request's body as it is", {})


class Price(Part):
    input: Number = execution("USD per million tokens read", ge=0)
    output: Number = execution("USD per million tokens written", ge=0)


class _Asked(Part):
    concurrency: Count = execution("requests in flight, at most", 32)
    timeout: Number = execution("seconds before a request counts as lost", 120.0, gt=0)
    attempts: Count = execution("tries for each request before its failure is final", 6)


class OpenAIEndpoint(_Asked):
    kind: Literal["openai"] = semantic("any OpenAI-compatible server: OpenAI, vLLM, SGLang, Ollama ...")
    base_url: str | None = execution("e.g. http://localhost:8000/v1; OpenAI's own when absent", None)
    api_key_env: str = execution("the NAME of the environment variable that holds the key", "OPENAI_API_KEY")
    requests_per_minute: Count | None = execution("the account's limit", None)
    tokens_per_minute: Count | None = execution("the account's limit", None)


class SolverEndpoint(_Asked):
    kind: Literal["solver"] = semantic("the embedded teacher, served on loopback; models: assistant, expert")


class ReplayEndpoint(Part):
    kind: Literal["replay"] = semantic("recorded answers, found by question and system message")
    path: Paths = semantic("JSONL or Parquet files of answers; enter by content")
    fields: dict[Literal["question", "answer", "system", "id"], str] = semantic("our name -> the file's key")
    questions: Paths = semantic("where the answers name their questions by id only: the file of questions", ())
    question_fields: dict[Literal["id", "question"], str] = semantic("our name -> that file's key", {})


class ReferenceEndpoint(Part):
    kind: Literal["reference"] = semantic("the reference that each query brings: training on a source's own labels")


Endpoint = Annotated[OpenAIEndpoint | SolverEndpoint | ReplayEndpoint | ReferenceEndpoint, Field(discriminator="kind")]


class Teacher(Part):
    model: str = semantic("the model's name as its endpoint knows it", min_length=1)
    sampling: Sampling = semantic("decoding", Sampling())
    endpoint: Endpoint = semantic("where it is asked")
    price: Price | None = execution("what it costs", None)


class Sample(Part):
    from_: Name = semantic("the dataset whose prompts are drawn from", alias="from")
    take: Count = semantic(
        "how many prompts, drawn uniformly; each keeps its message; a smaller draw is in a larger one"
    )


class Dataset(Part):
    teacher: Name = semantic("who answers")
    queries: tuple[Name, ...] = semantic("which query sources", ())
    sample: Sample | None = semantic("instead of `queries`: a random subset of another dataset's prompts", None)
    draw: Draws = semantic("system messages for this dataset alone; wins over system_messages.draw", {})
    shards: Annotated[Whole, Field(ge=1, le=1000)] = execution("jobs that the asking is split over", 1)


class Contamination(Part):
    ngram: Count = semantic("reject a query that shares so many consecutive words with a benchmark item", 13)


class Filters(Part):
    finish_reason: tuple[str, ...] = semantic("keep answers that ended so", ("stop",))
    min_characters: Count = semantic("shortest answer kept", 1)
    max_characters: Count | None = semantic("longest answer kept", None)
    refusals: Literal["keep", "drop"] = semantic("answers that decline to answer", "keep")
    agreement: bool = semantic("drop answers that contradict a known reference", False)
    duplicates: Literal["keep", "drop"] = semantic("the same prompt with the same answer again", "drop")
    contamination: Contamination | None = semantic("check against every benchmark of the spec", None)


# --- student, stages, hardware ---------------------------------------------------------------------------------


class Shape(Part):
    hidden: Count = semantic("width of the residual stream")
    layers: Count = semantic("number of blocks")
    heads: Count = semantic("attention heads")
    kv_heads: Count | None = semantic("key and value heads; as many as heads when absent", None)
    intermediate: Count = semantic("width of the MLP")
    init_std: Number = semantic("standard deviation of the first weights", 0.02, gt=0)
    tie_embeddings: bool = semantic("one matrix for reading and writing tokens", False)


class Tokenizer(Part):
    vocabulary: Annotated[Whole, Field(ge=300)] = semantic("entries of the byte-level BPE, special tokens included")
    train_on: tuple[Name, ...] = semantic("datasets whose texts it is trained on, whatever the arm", min_length=1)


class Student(Part):
    base: str | None = semantic("a Hugging Face model directory, relative to the spec; enters by content", None)
    size: Literal["tiny"] | None = semantic("instead of `base`: a named LLaMA shape, from scratch", None)
    shape: Shape | None = semantic("instead of `base`: an explicit LLaMA shape, from scratch", None)
    tokenizer: Tokenizer | None = semantic("of a student from scratch", None)
    max_length: Count = semantic("tokens a row", 2048)
    packing: Literal["best-fit", "shuffle"] = semantic(
        "how examples share rows; shuffle-and-fill is the paper's", "best-fit"
    )


class Stage(Part):
    dataset: Name = semantic("what it is trained on")
    epochs: Count = semantic("passes over the dataset; the paper's is 4", 4)
    learning_rate: Number = semantic("peak", 2e-5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = semantic("after the warm-up", "linear")
    warmup: Share = semantic("share of the steps", 0.03)
    batch: Rows = semantic("rows an optimizer step", 160)
    weight_decay: Number = semantic("of AdamW", 0.0, ge=0)
    max_grad_norm: Number = semantic("gradients are clipped to it", 1.0, gt=0)


class Work(Part):
    threads: Count = execution("CPU threads a job", 1)
    memory: Megabytes = execution("memory a job", 2000)
    time: Minutes = execution("time a job", 120)
    gpus: Annotated[Whole, Field(ge=0, le=1)] = execution("GPUs a job: 0 or 1", 0)


class TrainWork(Work):
    precision: Literal["fp32", "bf16"] = semantic("of the arithmetic", "fp32")
    micro_batch: Rows = execution("rows a forward pass; divides every stage's batch", 1)


class EvalWork(Work):
    batch: Rows = execution("items answered at a time", 64)


class Hardware(Part):
    train: TrainWork = semantic("for `student` and `train`", TrainWork())
    eval: EvalWork = execution("for `eval`", EvalWork())
    other: Work = execution("for everything else", Work())


class Spec(Part):
    """One experiment."""

    orcac: Annotated[Literal[1], _Number] = label("version of the language")
    name: Name = label("name of the experiment; a safe file name")
    about: str = label("one line for people", "")
    seed: Whole = semantic("of everything that is drawn: samples, messages, weights, order", 0, ge=0, le=2**32 - 1)
    queries: dict[Name, Queries] = semantic("query sources", {})
    system_messages: SystemMessages = semantic("what shapes the teachers' answers", SystemMessages())
    teachers: dict[Name, Teacher] = semantic("who answers")
    datasets: dict[Name, Dataset] = semantic("the answers of one teacher to one set of prompts")
    filters: Filters = semantic("which answers become examples", Filters())
    student: Student = semantic("who learns")
    stages: dict[Name, Stage] = semantic("legs of the curriculum")
    curriculum: tuple[Name, ...] = semantic("the stages in order", min_length=1)
    benchmarks: dict[Name, Benchmark] = semantic("what is measured", {})
    hardware: Hardware = semantic("what it runs on", Hardware())
    budget: Dollars | None = execution("no single dataset may cost more", None)
    ablations: dict[Name, Any] = semantic("arm -> JSON Merge Patch (RFC 7396) on all of the above", {})


SHAPES = {
    "tiny": Shape(hidden=128, layers=4, heads=4, intermediate=320, init_std=0.05, tie_embeddings=True),  # 0.84 M
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec, for editors; every property carries its `class`."""
    schema = Spec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orcac spec", **schema}
