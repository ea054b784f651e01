"""Query sources and benchmarks: puzzles that are generated, tables, and the forms of public collections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from orcac.fields import Count, Number, Reasoning, Share, Whole, execution, label, semantic
from orcac.recipe import Frozen
from orcac.spec.units import (
    Checkers,
    Name,
    Paths,
    Points,
)
from orcac.stats.averages import Average


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


MAX_BAD = (
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
    max_bad: Share | None = execution(MAX_BAD, None)


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
        "others are shown. auto chooses by the item; first-capital is the paper's (§4.2.2); form compares the wording "
        "with that of the teacher `form_of`",
        ("auto",),
    )
    parser: Literal["final-answer", "first-capital"] | None = semantic(
        "older name of `checker`; give one of the two", None
    )
    form_of: Name | None = semantic(
        "teacher that answers the items too, and whose wording the checker `form` looks for in the answers", None
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
    method: Literal["generate", "likelihood", "likelihood-per-character", "loss"] = semantic(
        "generate asks for a text; likelihood takes the option that the model gives the largest log-likelihood, or the "
        "largest for each of its characters; loss measures how likely the model finds a given answer. A model behind "
        "an API has no such row",
        "generate",
    )
    loss_of: Name | None = semantic(
        "teacher whose answers to the items are the texts of `method: loss`; the items' references when absent", None
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
