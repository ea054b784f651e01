"""The language: every field of a spec, declared once with its class, its unit and one line of help.

`orcac.fields` explains the classes (semantic, execution, label). Named things are the values of maps, so that a patch
can reach each of them. If their order matters, a list of their names gives it.

Precedence, lowest first:
    1. the defaults below
    2. the spec that `extends` names (and before it the spec that this one extends)
    3. the spec itself, merged over it as a JSON Merge Patch: maps merge, null removes, anything else replaces
    4. the arm's patch in `ablations`, merged in the same way
    5. the arm's point of the `sweep`: each value is put at its path
The environment affects nothing but `${NAME}` in a path, where NAME may not be that of a key or token.
Where the paper gives no value, the default is orcac's choice.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, StrictBool, Tag, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from orcac.chat.settings import Azure, Price, Sampling, SystemRole
from orcac.fields import NUMBERS_ONLY, Count, Number, Reasoning, Share, Whole, execution, label, semantic
from orcac.recipe import Frozen
from orcac.spec.units import (
    BatchSize,
    CheckerName,
    Checkers,
    Dollars,
    Learnt,
    Megabytes,
    Minutes,
    Name,
    Paths,
    Points,
    Rows,
    RowsOrTokens,
    Targets,
    Variable,
)
from orcac.stats.averages import Average

# --- queries and benchmarks ---------------------------------------------------------------------------------


class Expect(Frozen):
    """The expected size of a source whose files are not here yet; only estimates use it."""

    queries: Count | None = execution("number of queries in all its files, before `take`", None)
    tokens: Count | None = execution("mean length of a query", None, unit="tokens")


class _PuzzleSource(Frozen):
    format: Literal["puzzles"] = semantic("generated reasoning tasks in the style of BIG-Bench Hard")
    task: Literal[
        "boolean_expressions",
        "web_of_lies",
        "navigate",
        "tracking_shuffled_objects",
        "object_counting",
        "logical_deduction",
    ] = semantic("the task to generate")
    size: tuple[Count, Count] = semantic(
        "smallest and largest difficulty, both inclusive: number of literals, people, steps or objects"
    )
    take: Count = semantic("number of queries to generate", unit="queries")


_MAX_BAD = (
    "largest share of rows that cannot be read, which are kept aside; 0.1 % when absent. Unless it is 0, 10 rows are "
    "allowed in any case"
)


class FileSource(Frozen):
    """A source of queries or benchmark items that is read from files."""

    path: Paths = semantic(
        "files or globs, relative to the spec; they enter the id by content and base name, never by folder. "
        "`${NAME}` is an environment variable. `hf://OWNER/NAME[@REVISION][/PATH]` is on a hub and enters the id by "
        "this reference"
    )
    tasks: tuple[str, ...] = semantic("the tasks to keep; all when empty", ())
    take: Count | None = semantic("number of queries to draw; all when absent", None, unit="queries")
    per_task: Count | None = semantic("largest number of queries of one task", None, unit="queries")
    sampling: Literal["by-task", "uniform"] = semantic(
        "by-task draws a task first, then a query of it (the paper's Algorithm 1); uniform ignores tasks", "by-task"
    )
    expect: Expect = execution("expected size for estimates, until the files are here", Expect())
    allow_empty: tuple[str, ...] = execution(
        'tasks, and files by name, of which nothing may be left, or globs such as "*"; of any other, the run stops',
        (),
    )
    max_bad: Share | None = execution(_MAX_BAD, None)


Fields = dict[Literal["query", "reference", "references", "system", "task", "options"], str]
_FIELDS = (
    "orcac's field -> the file's key; dots reach inside, as in `messages.1.content`, and a template joins keys, as in "
    '"{instruction}\\n\\n{input}". A conversation (ShareGPT, `messages`) may be the query'
)


class _TableSource(FileSource):
    format: Literal["jsonl", "json", "csv", "tsv", "parquet"] = semantic(
        "a table, read by `fields`. A file that is clearly of another of these forms, or compressed, is read as it is"
    )
    fields: Fields = semantic(_FIELDS)
    show_options: Literal["no", "words", "letters"] = semantic(
        "put the options of `fields.options` at the end of the query, by their words or by letters in brackets", "no"
    )


class _FormSource(FileSource):
    format: Literal["flan-cot", "natural-instructions", "bbh", "agieval"] = semantic("a published file format")


class _QueryFiles(Frozen):
    missing: Literal["error", "later"] = execution(
        "if files are missing: refuse the spec, or plan and price without them until they exist", "error"
    )
    license: str = label("licence of the questions, as their publisher states it; the card of a dataset shows it", "")


class GeneratedQueries(_PuzzleSource):
    pass


class TableQueries(_QueryFiles, _TableSource):
    pass


class FormQueries(_QueryFiles, _FormSource):
    pass


Queries = Annotated[GeneratedQueries | TableQueries | FormQueries, Field(discriminator="format")]


class _BenchmarkSampling(Frozen):
    system: Whole = semantic("number of the system message of the evaluation; the paper uses 1, the empty one", 1)
    temperature: Number = semantic("0 decodes greedily; the paper's open-ended evaluation uses 0.7", 0.0, ge=0, le=2)
    top_p: Number = semantic("probability mass of nucleus sampling", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("largest length of an answer", 256, unit="tokens")
    primary: StrictBool = semantic(
        "each arm gets a verdict on it, adjusted for the number of such verdicts (Holm); if false, its comparisons are "
        "exploratory and have none",
        True,
    )
    average: Average = semantic(
        "the mean that differences and verdicts are of: over items (micro), over tasks (macro), or over tasks for a "
        "claim about tasks like these (clustered; 5 tasks or more), whose interval covers the choice of tasks",
        "micro",
    )
    margin: Points | None = semantic(
        "an arm is `equal within` this many points of the base if its 90 % interval lies within them; without a margin "
        "no arm is called equal",
        None,
        unit="points",
    )


class _BenchmarkProtocol(_BenchmarkSampling):
    checker: Checkers = semantic(
        "rule that reads answers and compares them with the reference, or a list of rules: the first decides, the "
        "others are shown. auto chooses by the item; first-capital is the paper's (§4.2.2)",
        ("auto",),
    )
    parser: Literal["final-answer", "first-capital"] | None = semantic(
        "older name of `checker`; give one of the two", None
    )
    shots: Count | None = semantic(
        "number of exemplars before each question: items of its task, drawn with the spec's seed, which are left "
        "out of the items that count",
        None,
        unit="items",
    )
    examples: Paths = semantic(
        "instead of `shots`: worked examples, one text file for each task, named TASK.txt (BBH's cot-prompts)", ()
    )
    instruction: str = semantic('text after each question, such as "End with ANSWER: X"', "")
    cue: str = semantic('text that begins the answer, such as "Let\'s think step by step."', "")
    stop: tuple[str, ...] = semantic("strings that end an answer; an answer holds none of them", ())
    samples: Count = semantic(
        "answers to each item, which need a temperature above 0; an item's score is their mean (avg@k), beside pass@k "
        "and the majority's",
        1,
        unit="answers",
    )
    method: Literal["generate", "likelihood", "likelihood-per-character"] = semantic(
        "generate asks for a text; likelihood takes the option that the model gives the largest log-likelihood, or the "
        "largest for each of its characters. A model behind an API has no such row",
        "generate",
    )
    reasoning: Reasoning | None = semantic(
        "on, off, or the largest number of tokens of a model's reasoning before its answer; the model's own way when "
        "absent",
        None,
    )

    @property
    def checkers(self) -> tuple[str, ...]:
        """The checkers, by whichever key the spec names them."""
        return (self.parser,) if self.parser else self.checker


class _BenchmarkFiles(Frozen):
    missing: Literal["error", "skip", "later"] = execution(
        "if files are missing: refuse the spec, leave the benchmark out, or plan and price without them until they "
        "exist",
        "error",
    )


class GeneratedBenchmark(_BenchmarkProtocol, _PuzzleSource):
    pass


class TableBenchmark(_BenchmarkFiles, _BenchmarkProtocol, _TableSource):
    pass


class FormBenchmark(_BenchmarkFiles, _BenchmarkProtocol, _FormSource):
    pass


class TruthfulQABenchmark(_BenchmarkFiles, _BenchmarkProtocol, FileSource):
    format: Literal["truthfulqa"] = semantic("multiple choice of TruthfulQA: mc_task.json, or TruthfulQA.csv")
    task: Literal["mc1", "mc2"] = semantic(
        "mc1 has one right choice, and the seed shuffles its letters; mc2 has several true ones and is scored by their "
        "probability",
        "mc1",
    )


class OpenBenchmark(_BenchmarkFiles, _BenchmarkSampling, FileSource):
    format: Literal["open-ended"] = semantic("questions without a reference answer (JSON Lines), judged by a model")
    fields: Fields = semantic("orcac's field -> the file's key")
    judge: Name = semantic(
        "one of `judges`, or a teacher, which then judges pairs by the shipped prompts; a judge sees each pair of "
        "answers in both orders"
    )
    against: tuple[Name, ...] = semantic(
        "teachers whose answers are compared with the model's; the form `scale` needs none", ()
    )


ScoredBenchmark = GeneratedBenchmark | TableBenchmark | FormBenchmark | TruthfulQABenchmark
Benchmark = Annotated[
    GeneratedBenchmark | TableBenchmark | FormBenchmark | TruthfulQABenchmark | OpenBenchmark,
    Field(discriminator="format"),
]


# --- system messages, teachers, datasets, filters ------------------------------------------------------------


class Draw(Frozen):
    always: tuple[int, ...] = semantic("numbers of the messages that any query may draw", min_length=1)
    multiple_choice: tuple[int, ...] = semantic("numbers of the messages for queries that list their options", ())
    mix: Literal["joined", "alone"] = semantic(
        "a query with options draws from both lists, or from `multiple_choice` only; the paper does not specify which",
        "joined",
    )


def is_drawn(source: Queries, draw: Draw | None) -> bool:
    """Return whether another seed would change the prompts of a source under a draw of system messages."""
    if isinstance(source, _PuzzleSource) or source.take or source.per_task:
        return True
    return draw is not None and len({*draw.always, *draw.multiple_choice}) > 1


def _expand_short_draw(value: object) -> object:
    """Return the full form of a draw that is written as a list of numbers."""
    return {"always": value} if isinstance(value, list | tuple) else value


class _OrNumbers:
    """A hook that adds the short form, a list of numbers, to a draw's JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"type": "array", "items": {"type": "integer"}, "minItems": 1}]}


Draws = dict[Name, Annotated[Draw, BeforeValidator(_expand_short_draw), _OrNumbers]]


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
    arguments: tuple[str, ...] = execution("further arguments of `vllm serve`, such as [--max-model-len, '8192']", ())
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
    max_bad: Share | None = execution(_MAX_BAD, None)


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
        """Whether the teacher gives another answer if it is asked the same again."""
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
        "the prompt; shortest and longest count the tokens of reasoning and answer; random draws with the spec's seed"
    )
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


class _OrWord:
    """Adds the short form, a word, to the JSON Schema of duplicates."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"enum": ["keep", "drop"]}]}


def _expand_short_agreement(value: object) -> object:
    """Return the rule of agreement that is written as true or false."""
    return ("agrees" if value else None) if isinstance(value, bool) else value


class _OrTrue:
    """Adds the short form, true or false, to the JSON Schema of agreement."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"type": "boolean"}]}


class Filters(Frozen):
    finish_reason: tuple[str, ...] = semantic("finish reasons of the answers to keep", ("stop",))
    min_characters: Count = semantic("smallest length of an answer to keep", 1, unit="characters")
    max_characters: Count | None = semantic("largest length of an answer to keep", None, unit="characters")
    tokens: dict[Literal["answer", "reasoning", "both"], Bounds] = semantic(
        "lengths to keep, in the teacher's tokens: the count of its server, which answer and reasoning share in "
        "proportion to their characters",
        {},
    )
    refusals: Literal["keep", "drop"] = semantic("answers in which the teacher declines to answer", "keep")
    agreement: Annotated[Literal["agrees", "contradicts"] | None, BeforeValidator(_expand_short_agreement), _OrTrue] = (
        semantic(
            "agrees drops answers that contradict a known reference answer, as `true` does; contradicts drops "
            "those that agree, which leaves wrong answers",
            None,
        )
    )
    unread: Literal["keep", "drop"] = semantic(
        "with `agreement`: answers that cannot be compared, since no final answer is read or no reference is known",
        "keep",
    )
    checker: CheckerName = semantic(
        "rule by which `agreement` and `select` read answers and compare them", "final-answer"
    )
    duplicates: Annotated[Duplicates, BeforeValidator(_expand_short_duplicates), _OrWord] = semantic(
        "rows that repeat an earlier one: `drop` is short for {of: [example]}, and `keep` for {of: []}", Duplicates()
    )
    contamination: Contamination | None = semantic("check the queries against every benchmark of the spec", None)
    select: Selection | None = semantic("the answers to keep of each prompt, after the rules above", None)
    allow_empty: tuple[str, ...] = execution(
        'tasks of which no answer may be kept, or globs such as "*"; of any other, the run stops', ()
    )


class Sample(Frozen):
    from_: Name = semantic("dataset whose prompts are drawn", alias="from")
    take: Count = semantic(
        "number of prompts, drawn uniformly; each keeps its system message, and a smaller draw is a subset of a larger "
        "one",
        unit="prompts",
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


# --- student, stages, hardware ---------------------------------------------------------------------------------


class Shape(Frozen):
    hidden: Count = semantic("width of the residual stream")
    layers: Count = semantic("number of blocks")
    heads: Count = semantic("number of attention heads")
    kv_heads: Count | None = semantic("number of key and value heads; that of `heads` when absent", None)
    intermediate: Count = semantic("width of the MLP")
    init_std: Number = semantic("standard deviation of the initial weights", 0.02, gt=0)
    tie_embeddings: StrictBool = semantic("use one matrix for input and output embeddings", False)


Size = Literal["tiny", "160M", "1B", "7B", "13B"]


class Tokenizer(Frozen):
    vocabulary: Annotated[int, Field(ge=300), NUMBERS_ONLY] = semantic(
        "size of the vocabulary of the byte-level BPE, with special tokens", unit="tokens"
    )
    train_on: tuple[Name, ...] = semantic(
        "datasets whose texts the tokenizer is trained on, the same for all arms", min_length=1
    )


class Adapter(Frozen):
    kind: Literal["lora"] = semantic("low-rank matrices beside the frozen ones of the student (LoRA)")
    rank: Count = semantic("rank of the matrices", 16)
    alpha: Number = semantic("scale of their product, which is multiplied by alpha / rank", 32, gt=0)
    targets: Targets = semantic(
        "modules that get matrices, by name, as in `[q_proj, v_proj]`; all-linear is every linear layer but the output "
        "layer",
        ("all-linear",),
    )
    dropout: Share = semantic("dropout before the matrices", 0.0, lt=1)


class Student(Frozen):
    base: str | None = semantic(
        "a pretrained model: a Hugging Face model directory or a .gguf file, relative to the spec, which enters by "
        "content; or hf://OWNER/NAME[@REVISION], which enters by this reference",
        None,
    )
    size: Size | None = semantic("instead of `base`: a named LLaMA shape, trained from scratch", None)
    shape: Shape | None = semantic("instead of `base`: an explicit LLaMA shape, trained from scratch", None)
    tokenizer: Tokenizer | None = semantic("tokenizer of a student from scratch", None)
    template: Literal["own"] | None = semantic(
        "own: a pretrained student is trained in its own chat template, which must begin an answer as its generation "
        "prompt does. When absent, a template without {% generation %} marks is replaced by one of ours",
        None,
    )
    seed: Whole | None = semantic(
        "seed of the initial weights and of the order of training; the spec's seed when absent. To train again on the "
        "same data, write `replicates`",
        None,
        ge=0,
        le=2**32 - 1,
    )
    adapter: Adapter | None = semantic(
        "train an adapter, and not all weights; all stages of a curriculum go on with it. Needs orcac[adapters]",
        None,
    )
    max_length: Count = semantic("length of a row", 2048, unit="tokens")
    packing: Literal["best-fit", "shuffle", "none"] = semantic(
        "how examples are packed into rows; shuffle (and fill) is the paper's way (§4.1). none gives each example a "
        "row of its own, for models that cannot separate examples of one row",
        "best-fit",
    )
    like: Size | None = execution("for estimates: the shape of a `base` that is not on this machine", None)


PAPERS_EPOCHS = 4


class Part(Frozen):
    share: Share = semantic("share of the mixture; those of all parts add up to 1", gt=0)
    learn: Learnt | None = semantic(
        "parts of this dataset's responses that are learnt; those of the stage when absent", None
    )


def _expand_short_part(value: object) -> object:
    """Return the full form of a part that is written as its share."""
    return value if isinstance(value, dict | Part) else {"share": value}


class _OrShare:
    """Adds the short form, a share, to the JSON Schema of a part."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"type": "number"}, {"type": "string", "pattern": "^ *[0-9_.]+ *% *$"}]}


Parts = dict[Name, Annotated[Part, BeforeValidator(_expand_short_part), _OrShare]]


class Order(Frozen):
    by: Literal["length"] = semantic("length: the learnt tokens of an example, short ones first")
    descending: StrictBool = semantic("long ones first", False)


def _expand_shuffled(value: object) -> object:
    return None if value == "shuffled" else value


class _OrShuffled:
    """Adds the value `shuffled` to the JSON Schema of an order."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"const": "shuffled"}]}


class SameAs(Frozen):
    same_as: Name = semantic("arm of this spec that trains on as many tokens")
    stages: tuple[Name, ...] = semantic(
        "stages of that arm, whose tokens are added up; its stage of the same name when absent", ()
    )


Length = Annotated[
    Annotated[SameAs, Tag("same")] | Annotated[Count, Tag("count")],
    Discriminator(lambda value: "same" if isinstance(value, dict | SameAs) else "count"),
]


class Stage(Frozen):
    dataset: Name | None = semantic("dataset that the student is trained on", None)
    data: Parts = semantic(
        "instead of `dataset`: a mixture, dataset -> its share, as in `{long: 0.8, short: 0.2}`, or `{share, learn}`",
        {},
    )
    shares: Literal["examples", "tokens"] = semantic("unit of the shares of `data` and of `take`", "examples")
    take: Count | None = semantic(
        "size of the mixture in an epoch, in examples or tokens; when absent, the largest that repeats no example, or "
        "with `repeat` the smallest that has every example",
        None,
    )
    repeat: StrictBool = semantic(
        "repeat the examples of a part that is too short for its share; without it, the run stops there", False
    )
    learn: Learnt = semantic(
        "parts of the teachers' responses that are learnt: [reasoning, answer], where they have reasoning, or [answer]",
        ("reasoning", "answer"),
    )
    order: Annotated[Order | None, BeforeValidator(_expand_shuffled), _OrShuffled] = semantic(
        "`shuffled`, which is the default, draws the order of the rows anew in each epoch. By an order, examples are "
        "packed and trained on in it, in every epoch; each row is filled until the next example does not fit",
        None,
    )
    tokens: Length | None = semantic(
        "length of the stage, instead of `epochs`: it ends with the step that reaches this many tokens; "
        "padding is not counted. `{same_as: ARM}` is as many as another arm trains on, whose rows are counted",
        None,
        unit="tokens",
    )
    epochs: Count | None = semantic(
        "passes over the dataset; unless `tokens` is given, the default is the paper's 4",
        default_factory=lambda given: None if given.get("tokens") else PAPERS_EPOCHS,
    )
    learning_rate: Number = semantic("largest learning rate", 2e-5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = semantic("learning rate schedule after the warmup", "linear")
    warmup: Share = semantic("warmup steps, as a share of all steps", 0.03)
    batch: RowsOrTokens = semantic(
        "size of an optimizer step, over all GPUs; in tokens (`327_680 tokens`) a multiple of student.max_length",
        BatchSize(160),
    )
    weight_decay: Number = semantic("weight decay of AdamW", 0.0, ge=0)
    max_grad_norm: Number = semantic("norm that gradients are clipped to", 1.0, gt=0)
    holdout: Share | None = semantic(
        "share of the questions that are kept apart, by teacher and source, to measure the loss on them before, during "
        "and after training; stages with the same share keep the same questions apart",
        None,
        gt=0,
        le=0.5,
    )
    keep: Literal["last", "best"] = semantic(
        "weights that the stage leaves: those of its last step, or with `holdout` those with the lowest loss on the "
        "questions kept apart, which is then measured after each epoch as well",
        "last",
    )
    optimizer: Literal["fresh", "carry"] = semantic(
        "AdamW's moments start at zero, or are carried over from the stage before; the paper does not specify which",
        "fresh",
    )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that the student is trained on."""
        return (self.dataset,) if self.dataset else tuple(self.data)

    @model_validator(mode="after")
    def _has_data(self) -> Stage:
        if not self.datasets:
            raise PydanticCustomError("no_data", "the stage needs either `dataset` or `data`")
        return self


Runs = Annotated[int, Field(ge=1, le=100), NUMBERS_ONLY]


class Replicates(Frozen):
    """Runs of each arm that differ by chance alone; together they are one row of their arm."""

    training: Runs | None = semantic(
        "runs of each arm on the same data, with training seeds of their own; the first run has the spec's seeds. "
        "`replicates: 5` is short for this",
        None,
    )
    base: Runs | None = semantic("runs of the base, if it has another number: it is in every comparison", None)
    arms: Runs | None = semantic("runs of each other arm, if these have another number", None)
    data: Runs = semantic(
        "draws of the data (queries, their system messages, subsets, sampled answers), each with as many runs; the "
        "benchmarks' items stay the same",
        1,
    )

    def runs(self, *, is_base: bool) -> int:
        """Return the number of training runs of one arm on each draw of the data."""
        return (self.base if is_base else self.arms) or self.training or 1


def _expand_short_replicates(value: object) -> object:
    """Return the full form of replicates that are written as a number."""
    return {"training": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class _OrNumber:
    """Adds the short form, a number, to the JSON Schema of replicates."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), {"type": "integer", "minimum": 1, "maximum": 100}]}


Gpu = Literal[
    "v100-32gb", "a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb", "l40s-48gb", "rtx4090-24gb"
]


class Work(Frozen):
    threads: Count = execution("CPU threads of a job", 1)
    memory: Megabytes = execution("memory of a job", 2000, unit="MiB")
    time: Minutes = execution("time limit of a job", 120, unit="minutes")


class EvalWork(Work):
    engine: Literal["transformers", "vllm"] = execution(
        "program that generates students' answers; vllm serves the student while it is asked. Rows of different "
        "engines get no verdict between them",
        "transformers",
    )
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution(
        "GPUs of a job: 0 or 1; with the engine vllm also more, which share the model's tensors", 0
    )
    gpu: Gpu | None = execution("model of the GPU, for estimates", None)
    shards: Annotated[int, Field(ge=1, le=1000), NUMBERS_ONLY] = execution(
        "number of jobs that share the items of an evaluation, each with `gpus` GPUs of its own", 1
    )
    batch: Rows | None = execution(
        "number of items answered at once; chosen for the device when absent", None, unit="items"
    )


class TrainWork(Work):
    nodes: Annotated[int, Field(ge=1, le=1024), NUMBERS_ONLY] = execution("machines of a job", 1)
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution(
        "GPUs of each machine; with 0 the student is trained on the CPU", 0
    )
    processes: Annotated[int, Field(ge=1, le=256), NUMBERS_ONLY] = execution(
        "if `gpus` is 0: processes of each machine, which share the batch and the threads; otherwise each GPU has one "
        "process",
        1,
    )
    gpu: Gpu | None = execution(
        "model of the GPU: its memory, which must hold the stage, and its peak arithmetic", None
    )
    precision: Literal["fp32", "bf16"] = semantic("precision of the arithmetic", "fp32")
    zero: Literal[0, 1, 2, 3] = execution(
        "DeepSpeed ZeRO stage: the processes share AdamW's state (1), also the gradients (2), also the weights (3); "
        "0 is plain data parallelism",
        0,
    )
    offload: StrictBool = execution(
        "with `zero`: keep AdamW's state in the machine's memory and update it on the CPU", False
    )
    recompute: StrictBool = execution(
        "keep only each layer's input and compute the rest again in the backward pass: less memory, a third more "
        "arithmetic",
        False,
    )
    compile: StrictBool = execution("run torch.compile on the student", False)
    micro_batch: Rows = execution("size of one forward pass of one process", 1, unit="rows")
    mfu: Share | None = execution(
        "share of the GPU's peak that the model's arithmetic reaches, if you have measured it; padding counts as work, "
        "the repeated arithmetic of `recompute` does not",
        None,
    )
    price: Number | None = execution("price of a GPU, for estimates", None, unit="USD per hour", ge=0)


class Hardware(Frozen):
    train: TrainWork = semantic(
        "resources of `train` jobs; `student` jobs use its threads, memory and time", TrainWork()
    )
    eval: EvalWork = execution("resources of `eval` jobs", EvalWork())
    other: Work = execution("resources of all other jobs", Work())


def _list_single_stage(given: dict[str, object]) -> tuple[str, ...]:
    """Return the curriculum of a spec that does not list it: its stage, if there is only one."""
    stages = given.get("stages")
    return tuple(stages) if isinstance(stages, dict) and len(stages) == 1 else ()


class Spec(Frozen):
    """One experiment."""

    orcac: Annotated[Literal[1], NUMBERS_ONLY] = label("version of the language")
    extends: str | None = label("path of another spec, relative to this one; this spec is then a patch on it", None)
    name: Name = label("name of the experiment; it must be usable as a file name")
    about: str = label("one line about the experiment for its readers", "")
    seed: Whole = semantic("seed of all random draws: samples, messages, weights, order", 0, ge=0, le=2**32 - 1)
    queries: dict[Name, Queries] = semantic("query sources", {})
    system_messages: SystemMessages = semantic("messages that shape the teachers' answers", SystemMessages())
    teachers: dict[Name, Teacher] = semantic("models and records that answer", {})
    datasets: dict[Name, Dataset] = semantic(
        "answers of one teacher to one set of prompts; a spec with `stages` makes those that it trains on, one without "
        "makes all of them",
        {},
    )
    filters: Filters = semantic("rules that select the answers to train on", Filters())
    student: Student | None = semantic("the model to train, or only to measure", None)
    stages: dict[Name, Stage] = semantic("stages of the curriculum", {})
    curriculum: tuple[Name, ...] = semantic(
        "names of the stages in order; a single stage needs no list. An arm with `[]` trains nothing, and its student "
        "is measured as it is",
        default_factory=_list_single_stage,
    )
    replicates: Annotated[Replicates, BeforeValidator(_expand_short_replicates), _OrNumber] = semantic(
        "training runs of each arm, and draws of its data", Replicates()
    )
    judges: dict[Name, Judge] = semantic("the ways in which teachers judge answers", {})
    benchmarks: dict[Name, Benchmark] = semantic("benchmarks that measure the students", {})
    baselines: tuple[Name, ...] = semantic(
        "teachers that answer the benchmarks, asked as the arms are; each is a row of the report beside the arms",
        (),
    )
    hardware: Hardware = semantic("resources of the jobs", Hardware())
    budget: Dollars | None = execution("largest cost of all requests of this spec, over all arms", None, unit="USD")
    ablations: dict[Name, object] = semantic("arm -> JSON Merge Patch (RFC 7396) on the keys above", {})
    sweep: dict[str, tuple[object, ...]] = semantic(
        "dotted path -> values; every arm is repeated at each combination of the values", {}
    )


SHAPES = {
    "tiny": Shape(hidden=128, layers=4, heads=4, intermediate=320, init_std=0.05, tie_embeddings=True),  # 0.84 M
    "160M": Shape(hidden=768, layers=12, heads=12, intermediate=3072),  # the smallest public LLaMA shape
    "1B": Shape(hidden=2048, layers=22, heads=32, kv_heads=4, intermediate=5632),  # TinyLlama's
    "7B": Shape(hidden=4096, layers=32, heads=32, intermediate=11008),  # LLaMA's
    "13B": Shape(hidden=5120, layers=40, heads=40, intermediate=13824),  # LLaMA's
}
