"""The language: what a spec may say. Every field is declared once, with its class, its unit and one line of help.

    semantic    changes what is made, so it enters the id of the nodes that feel it
    execution   changes where, how fast or for how much; never enters an id
    label       names and descriptions; never enters an id

Things with names are maps, so that a patch can reach them; order that matters is a list of names.

Precedence, lowest first:
    1. the defaults below
    2. the spec that `extends` names (and what that one extends, first)
    3. the spec itself, merged over it as a JSON Merge Patch: maps merge, null removes, anything else replaces
    4. the arm's patch in `ablations`, merged in the same way
    5. the arm's point of the `sweep`: each value put at its path
The environment decides nothing but `${NAME}` in a path. Where the paper gives no value the default is ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, StrictBool

from orcac.chat.settings import Azure, Price, Sampling
from orcac.fields import NUMBERS_ONLY, Count, Number, Share, Whole, execution, label, semantic
from orcac.recipe import Frozen
from orcac.spec.units import BatchSize, Dollars, Megabytes, Minutes, Name, Paths, Rows, RowsOrTokens, Variable

# --- queries and benchmarks ---------------------------------------------------------------------------------


class Expect(Frozen):
    """What a source is expected to hold, until it is here: for estimates alone."""

    queries: Count | None = execution("queries in all its files, before `take`", None)
    tokens: Count | None = execution("mean length of a query", None, unit="tokens")


class _Generated(Frozen):
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
    take: Count = semantic("how many to generate", unit="queries")


class _Files(Frozen):
    path: Paths = semantic(
        "files or globs, relative to the spec; they enter the id by content and base name, never by folder. "
        "${NAME} is the environment's. `hf://OWNER/NAME[@REVISION][/PATH]` is of a hub, and enters by these words"
    )
    tasks: tuple[str, ...] = semantic("keep these tasks alone", ())
    take: Count | None = semantic("how many are drawn; all when absent", None, unit="queries")
    per_task: Count | None = semantic("at most so many of each task", None, unit="queries")
    sampling: Literal["by-task", "uniform"] = semantic(
        "by-task draws a task first, then a query (the paper's Algorithm 1); uniform ignores tasks", "by-task"
    )
    expect: Expect = execution("for estimates, until the files are here", Expect())


Fields = dict[Literal["query", "reference", "task", "options"], str]


class _Table(_Files):
    format: Literal["jsonl", "parquet"] = semantic("JSON Lines or Parquet, read by `fields`")
    fields: Fields = semantic("our name -> the file's key; dots reach inside, as in `messages.1.content`")


class _KnownForm(_Files):
    format: Literal["flan-cot", "natural-instructions", "bbh", "agieval"] = semantic("a published file format")


class _Query(Frozen):
    missing: Literal["error", "later"] = execution(
        "where files are not here: refuse, or plan and price without them until they are", "error"
    )


class GeneratedQueries(_Generated):
    pass


class TableQueries(_Query, _Table):
    pass


class FormQueries(_Query, _KnownForm):
    pass


Queries = Annotated[GeneratedQueries | TableQueries | FormQueries, Field(discriminator="format")]


class _Asking(Frozen):
    system: Whole = semantic("number of the system message to evaluate under; the paper's is 1, the empty one", 1)
    temperature: Number = semantic("0 is greedy; the paper's open-ended runs use 0.7", 0.0, ge=0, le=2)
    top_p: Number = semantic("nucleus of the sampling", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("the longest answer", 256, unit="tokens")


class _Protocol(_Asking):
    parser: Literal["final-answer", "first-capital"] = semantic(
        "how the answer is found; first-capital is the paper's rule (§4.2.2)", "final-answer"
    )


class _Item(Frozen):
    missing: Literal["error", "skip", "later"] = execution(
        "where files are not here: refuse, leave the benchmark out, or plan and price without them until they are",
        "error",
    )


class GeneratedBenchmark(_Protocol, _Generated):
    pass


class TableBenchmark(_Item, _Protocol, _Table):
    pass


class FormBenchmark(_Item, _Protocol, _KnownForm):
    pass


class OpenBenchmark(_Item, _Asking, _Files):
    format: Literal["open-ended"] = semantic("questions without a right answer (JSON Lines), judged by a model")
    fields: Fields = semantic("our name -> the file's key")
    judge: Name = semantic("the teacher that judges; it sees every pair in both orders")
    against: tuple[Name, ...] = semantic("teachers whose answers the student's are compared with", min_length=1)


Benchmark = Annotated[
    GeneratedBenchmark | TableBenchmark | FormBenchmark | OpenBenchmark, Field(discriminator="format")
]


# --- system messages, teachers, datasets, filters ------------------------------------------------------------


class Draw(Frozen):
    always: tuple[int, ...] = semantic("messages drawn for every query", min_length=1)
    multiple_choice: tuple[int, ...] = semantic("messages for queries that list their options", ())
    mix: Literal["joined", "alone"] = semantic(
        "such a query draws from both lists, or from `multiple_choice` alone; the paper does not say which", "joined"
    )


def _short_draw(value: Any) -> Any:
    return {"always": value} if isinstance(value, list | tuple) else value


class _OrNumbers:
    """Adds the short form, a list of numbers, to a draw's JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "array", "items": {"type": "integer"}, "minItems": 1}]}


Draws = dict[Name, Annotated[Draw, BeforeValidator(_short_draw), _OrNumbers]]


class SystemMessages(Frozen):
    library: str | None = semantic("a YAML file of numbered messages, relative to the spec; enters by text", None)
    messages: dict[int, str] = semantic("further messages by number; they win over the library's", {})
    draw: Draws = semantic("query source -> the numbers that its messages are drawn from; 1 (empty) when absent", {})


class _Asked(Frozen):
    concurrency: Count = execution(
        "requests in flight, at most, of all jobs on the account (one that begins is heeded within a second)",
        32,
        unit="requests",
    )
    timeout: Number = execution("before a request counts as lost", 120.0, unit="seconds", gt=0)
    attempts: Count = execution("tries for each request before its failure is final", 6)


class OpenAIEndpoint(_Asked):
    kind: Literal["openai"] = semantic("any OpenAI-compatible server: OpenAI, Azure, vLLM, SGLang, Ollama ...")
    base_url: str | None = execution(
        "e.g. http://localhost:8000/v1; OpenAI's own when absent. With `azure` the resource's address, "
        "https://NAME.openai.azure.com, or what AZURE_OPENAI_ENDPOINT says",
        None,
    )
    azure: Azure | None = execution("addresses and key as Azure OpenAI wants them", None)
    api_key_env: Variable | None = execution(
        "the NAME of the environment variable that holds the key; OPENAI_API_KEY when absent, with `azure` "
        "AZURE_OPENAI_API_KEY, or a token of Entra ID in AZURE_OPENAI_AD_TOKEN where that holds none",
        None,
    )
    mode: Literal["online", "batch", "auto"] = execution(
        "one by one; through the Batch API, within a day; or so, and what a batch leaves one by one", "online"
    )
    requests_per_minute: Count | None = execution("the account's limit", None, unit="requests per minute")
    tokens_per_minute: Count | None = execution("the account's limit", None, unit="tokens per minute")


class VLLMEndpoint(_Asked):
    kind: Literal["vllm"] = semantic("a model that `vllm serve` serves on this machine while it is asked")
    path: str | None = execution("the folder of its weights; when absent vLLM fetches what the model's name says", None)
    arguments: tuple[str, ...] = execution("further ones for `vllm serve`, e.g. [--max-model-len, '8192']", ())
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution("GPUs the job asks for", 1)
    ready_within: Number = execution("before a server not yet healthy counts as failed", 1800.0, unit="seconds", gt=0)


class LocalEndpoint(Frozen):
    kind: Literal["local"] = semantic("a model that is loaded where it is asked (transformers), on the CPU or a GPU")
    path: str = semantic(
        "a Hugging Face model directory, relative to the spec, which enters by content; or "
        "hf://OWNER/NAME[@REVISION], which enters by these words"
    )
    batch: Count = execution("prompts answered at once", 16, unit="prompts")
    gpus: Annotated[int, Field(ge=0, le=1), NUMBERS_ONLY] = execution("GPUs the job asks for: 0 or 1", 0)


class SolverEndpoint(_Asked):
    kind: Literal["solver"] = semantic("the embedded teacher, served on loopback; models: assistant, expert")


class ReplayEndpoint(Frozen):
    kind: Literal["replay"] = semantic("recorded answers, found by question and system message")
    path: Paths = semantic("JSONL or Parquet files of answers; enter by content")
    fields: dict[Literal["question", "answer", "system", "id"], str] = semantic("our name -> the file's key")
    questions: Paths = semantic("where the answers name their questions by id only: the file of questions", ())
    question_fields: dict[Literal["id", "question"], str] = semantic("our name -> that file's key", {})


class ReferenceEndpoint(Frozen):
    kind: Literal["reference"] = semantic("the reference that each query brings: training on a source's own labels")


Endpoint = Annotated[
    OpenAIEndpoint | VLLMEndpoint | LocalEndpoint | SolverEndpoint | ReplayEndpoint | ReferenceEndpoint,
    Field(discriminator="kind"),
]


class Teacher(Frozen):
    model: str = semantic("the model's name as its endpoint knows it", min_length=1)
    sampling: Sampling = semantic("decoding", Sampling())
    endpoint: Endpoint = semantic("where it is asked")
    price: Price | None = execution("what it costs", None)
    expect: Count | None = execution("mean length of an answer, until answers are measured", None, unit="tokens")


class Sample(Frozen):
    from_: Name = semantic("the dataset whose prompts are drawn from", alias="from")
    take: Count = semantic(
        "how many, drawn uniformly; each keeps its message; a smaller draw is in a larger one", unit="prompts"
    )


class Dataset(Frozen):
    teacher: Name = semantic("who answers")
    queries: tuple[Name, ...] = semantic("which query sources", ())
    sample: Sample | None = semantic("instead of `queries`: a random subset of another dataset's prompts", None)
    draw: Draws = semantic(
        "system messages for this dataset alone; wins over system_messages.draw. With `sample`: the same queries as "
        "without, worded anew",
        {},
    )
    shards: Annotated[int, Field(ge=1, le=1000), NUMBERS_ONLY] = execution("jobs that the asking is split over", 1)


class Contamination(Frozen):
    ngram: Count = semantic(
        "reject a query that shares so many consecutive words with a benchmark item", 13, unit="words"
    )


class Filters(Frozen):
    finish_reason: tuple[str, ...] = semantic("keep answers that ended so", ("stop",))
    min_characters: Count = semantic("shortest answer kept", 1, unit="characters")
    max_characters: Count | None = semantic("longest answer kept", None, unit="characters")
    refusals: Literal["keep", "drop"] = semantic("answers that decline to answer", "keep")
    agreement: StrictBool = semantic("drop answers that contradict a known reference", False)
    duplicates: Literal["keep", "drop"] = semantic("the same prompt with the same answer again", "drop")
    contamination: Contamination | None = semantic("check against every benchmark of the spec", None)


# --- student, stages, hardware ---------------------------------------------------------------------------------


class Shape(Frozen):
    hidden: Count = semantic("width of the residual stream")
    layers: Count = semantic("number of blocks")
    heads: Count = semantic("attention heads")
    kv_heads: Count | None = semantic("key and value heads; as many as heads when absent", None)
    intermediate: Count = semantic("width of the MLP")
    init_std: Number = semantic("standard deviation of the first weights", 0.02, gt=0)
    tie_embeddings: StrictBool = semantic("one matrix for reading and writing tokens", False)


Size = Literal["tiny", "160M", "1B", "7B", "13B"]


class Tokenizer(Frozen):
    vocabulary: Annotated[int, Field(ge=300), NUMBERS_ONLY] = semantic(
        "entries of the byte-level BPE, special tokens included", unit="tokens"
    )
    train_on: tuple[Name, ...] = semantic("datasets whose texts it is trained on, whatever the arm", min_length=1)


class Student(Frozen):
    base: str | None = semantic(
        "pretrained: a Hugging Face model directory or a .gguf file, relative to the spec, which enters by content; "
        "or hf://OWNER/NAME[@REVISION], which enters by these words",
        None,
    )
    size: Size | None = semantic("instead of `base`: a named LLaMA shape, from scratch", None)
    shape: Shape | None = semantic("instead of `base`: an explicit LLaMA shape, from scratch", None)
    tokenizer: Tokenizer | None = semantic("of a student from scratch", None)
    seed: Whole | None = semantic(
        "of first weights and the order of training; the spec's when absent. `sweep` it to train again on the same "
        "data",
        None,
        ge=0,
        le=2**32 - 1,
    )
    max_length: Count = semantic("length of a row", 2048, unit="tokens")
    packing: Literal["best-fit", "shuffle"] = semantic(
        "how examples share rows; shuffle-and-fill is the paper's (§4.1)", "best-fit"
    )
    like: Size | None = execution("for estimates: the shape of a `base` that is not here", None)


PAPERS_EPOCHS = 4


class Stage(Frozen):
    dataset: Name = semantic("what it is trained on")
    tokens: Count | None = semantic(
        "how long, instead of `epochs`: the stage ends with the step that reaches so many, padding left out",
        None,
        unit="tokens",
    )
    epochs: Count | None = semantic(
        "passes over the dataset; the paper's is 4, which holds unless `tokens` is said",
        default_factory=lambda said: None if said.get("tokens") else PAPERS_EPOCHS,
    )
    learning_rate: Number = semantic("peak", 2e-5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = semantic("after the warm-up", "linear")
    warmup: Share = semantic("share of the steps", 0.03)
    batch: RowsOrTokens = semantic(
        "an optimizer step, over all GPUs; in tokens (`327_680 tokens`) a multiple of student.max_length",
        BatchSize(160),
    )
    weight_decay: Number = semantic("of AdamW", 0.0, ge=0)
    max_grad_norm: Number = semantic("gradients are clipped to it", 1.0, gt=0)
    optimizer: Literal["fresh", "carry"] = semantic(
        "AdamW's moments start anew, or come from the stage before; the paper does not say which", "fresh"
    )


Gpu = Literal[
    "v100-32gb", "a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb", "l40s-48gb", "rtx4090-24gb"
]


class Work(Frozen):
    threads: Count = execution("CPU threads a job", 1)
    memory: Megabytes = execution("memory a job", 2000, unit="MiB")
    time: Minutes = execution("time a job", 120, unit="minutes")


class EvalWork(Work):
    gpus: Annotated[int, Field(ge=0, le=1), NUMBERS_ONLY] = execution("GPUs a job: 0 or 1", 0)
    gpu: Gpu | None = execution("which GPU, for estimates", None)
    batch: Rows = execution("items answered at a time", 64, unit="items")


class TrainWork(Work):
    nodes: Annotated[int, Field(ge=1, le=1024), NUMBERS_ONLY] = execution("machines a job", 1)
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution("GPUs a machine; 0 trains on the CPU", 0)
    processes: Annotated[int, Field(ge=1, le=256), NUMBERS_ONLY] = execution(
        "processes a machine that share the work and the threads, where `gpus` is 0; with GPUs there is one for each", 1
    )
    gpu: Gpu | None = execution("which GPU: its memory, which the stage must fit into, and its peak", None)
    precision: Literal["fp32", "bf16"] = semantic("of the arithmetic", "fp32")
    zero: Literal[0, 1, 2, 3] = execution(
        "DeepSpeed ZeRO stage: processes share AdamW's state (1), gradients too (2), weights too (3); 0 is plain data "
        "parallelism",
        0,
    )
    offload: StrictBool = execution(
        "with `zero`: AdamW's state in the machine's memory, where the CPU updates it", False
    )
    recompute: StrictBool = execution(
        "keep a layer's input alone and compute the rest again in the backward pass: less memory, a third more "
        "arithmetic",
        False,
    )
    compile: StrictBool = execution("torch.compile the student", False)
    micro_batch: Rows = execution("a forward pass of one process", 1, unit="rows")
    mfu: Share | None = execution(
        "share of the GPU's peak that the model's arithmetic reaches, where you measured it; padding counts as work, "
        "what `recompute` does again does not",
        None,
    )
    price: Number | None = execution("of a GPU, for estimates", None, unit="USD per hour", ge=0)


class Hardware(Frozen):
    train: TrainWork = semantic("for `train`; threads, memory and time for `student` too", TrainWork())
    eval: EvalWork = execution("for `eval`", EvalWork())
    other: Work = execution("for everything else", Work())


class Spec(Frozen):
    """One experiment."""

    orcac: Annotated[Literal[1], NUMBERS_ONLY] = label("version of the language")
    extends: str | None = label("another spec, relative to this one, that this one is a patch on", None)
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
    curriculum: tuple[Name, ...] = semantic("the stages in order")
    benchmarks: dict[Name, Benchmark] = semantic("what is measured", {})
    baselines: tuple[Name, ...] = semantic("teachers that answer the benchmarks too, each a row beside the arms", ())
    hardware: Hardware = semantic("what it runs on", Hardware())
    budget: Dollars | None = execution("what asking for all of this spec may cost, all arms together", None, unit="USD")
    ablations: dict[Name, Any] = semantic("arm -> JSON Merge Patch (RFC 7396) on all of the above", {})
    sweep: dict[str, tuple[Any, ...]] = semantic(
        "dotted path -> values; every arm is made at every combination of them", {}
    )


SHAPES = {
    "tiny": Shape(hidden=128, layers=4, heads=4, intermediate=320, init_std=0.05, tie_embeddings=True),  # 0.84 M
    "160M": Shape(hidden=768, layers=12, heads=12, intermediate=3072),  # the smallest public LLaMA shape
    "1B": Shape(hidden=2048, layers=22, heads=32, kv_heads=4, intermediate=5632),  # TinyLlama's
    "7B": Shape(hidden=4096, layers=32, heads=32, intermediate=11008),  # LLaMA's
    "13B": Shape(hidden=5120, layers=40, heads=40, intermediate=13824),  # LLaMA's
}
