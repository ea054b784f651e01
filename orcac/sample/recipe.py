"""The recipe of `sample`, which makes `prompts.parquet` (rows.Prompt): the queries of one source with system messages.

The kind has four uses: a teacher's queries, a random subset of other prompts (the paper's FLAN-1M), the items of a
benchmark, which are queries with known references and no system message, and these items in the form in which models
are asked. If `Source.items` is set, the rows are rows.BenchmarkItem.

Inputs: `from` (sample nodes) for a subset or a form, else none; `rated` (one rate node) for a subset by values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, FileRef, Frozen, HubRef, Recipe, rule
from orcac.summary import OMIT_NONE, Summary

__all__ = [
    "OWN",
    "VERSION",
    "Draw",
    "Execution",
    "Form",
    "Message",
    "Puzzles",
    "SampleExecution",
    "SampleRecipe",
    "SampleSummary",
    "Source",
    "Subset",
    "TruthfulQA",
]

VERSION = 1  # raise it when the same recipe would make other prompts
OWN = 0  # the number of a system message that a row brings itself


class Message(Frozen):
    """A system message: its number in the library and its text."""

    id: int
    text: str


class Draw(Frozen):
    """The messages that a source's prompts are drawn from, uniformly (paper, Figure 6).

    For queries that list their options, `multiple_choice` is added to `always`, or replaces it if `alone` is true.
    """

    always: tuple[Message, ...]
    multiple_choice: tuple[Message, ...] = ()
    alone: bool = False


class Puzzles(Frozen):
    """Generated reasoning tasks.

    `task` is a key of `orcac.puzzles.TASKS`. Each puzzle's size, its difficulty, is drawn from `size` (min and max,
    inclusive). `seed` makes held-out sets differ from training sets.
    """

    task: str
    size: tuple[int, int]
    count: int
    seed: int


class TruthfulQA(Frozen):
    """The questions of TruthfulQA's multiple choice: its task, and the seed of the order of the choices."""

    task: Literal["mc1", "mc2"]
    seed: int


class Source(Frozen):
    """Queries from files of one format, or generated."""

    format: Literal[
        "puzzles",
        "flan-cot",
        "natural-instructions",
        "jsonl",
        "json",
        "csv",
        "tsv",
        "parquet",
        "bbh",
        "agieval",
        "truthfulqa",
    ]
    files: tuple[FileRef, ...] = ()
    hub: tuple[HubRef, ...] = ()  # dataset repositories; read after `files`, in this order
    absent: tuple[str, ...] = ()  # paths, as written, of missing files: with any, the source can be planned, not made
    fields: dict[str, str] = {}  # of a table: our name (query, reference, task, ...) -> the file's key, or a template
    show_options: Literal["words", "letters"] | None = None  # in the query, if they have a field of their own
    puzzles: Puzzles | None = None
    truthfulqa: TruthfulQA | None = None
    items: Literal["references", "choices"] | None = None  # rows.BenchmarkItem: with all right answers, or with choices
    tasks: tuple[str, ...] = ()  # the only tasks to keep; () keeps all
    take: int | None = None  # number of queries; None is all
    per_task: int | None = None  # maximum number of queries of each task
    sampling: Literal["by-task", "uniform"] = "by-task"  # by-task is the paper's Algorithm 1


class Subset(Frozen):
    """A subset of other prompts; each keeps its system message. It is drawn at random, or by values of the questions.

    With a bound or a preference, the node has the input `rated`, and questions without a value are not drawn.
    """

    take: int
    between: tuple[float, float] | None = None  # least and largest value of a question that may be drawn
    prefer: Literal["low", "high"] | None = None  # draw the questions of the lowest or highest values, not at random

    @property
    def is_by_value(self) -> bool:
        return bool(self.between or self.prefer)


class Form(Frozen):
    """The form in which a benchmark's items are put to a model (`sample.form`).

    The rows keep the ids of the items. An item that serves as an exemplar has no row.
    """

    system: Message = Message(id=1, text="")
    shots: int = 0  # exemplars before each question, drawn from the items of its task
    examples: tuple[FileRef, ...] = ()  # instead: worked examples of each task, in a file TASK.txt
    instruction: str = ""  # after each question
    cue: str = ""  # begins the answer


class SampleRecipe(Recipe):
    """The source of prompts, and how they and their system messages are drawn."""

    name: str  # the spec's name of the source; written to every row of a source
    seed: int
    source: Source | None = None  # exactly one of source, subset and form
    subset: Subset | None = None
    form: Form | None = None
    draw: Draw = Draw(always=(Message(id=1, text=""),))
    matching: int | None = rule(None)  # `recipe.MATCHING`, if its references may name options otherwise than by text


class SampleExecution(Execution):
    """The expected size of the source, for estimates until it has been read, and how a benchmark's items are scored."""

    checker: str = ""  # of a benchmark, its first: `run` refuses items that it cannot score
    agreement: str = ""  # of a teacher's queries, the checker of the filter: `run` names references that it misreads
    one_message: bool = False  # a benchmark's items, which are asked under its message and bring none of their own
    allow_empty: tuple[str, ...] = ()  # tasks and files of which nothing may be left
    expect_queries: int | None = None  # in all its files, before `take`
    expect_tokens: int | None = None  # mean length of a query
    max_bad: float | None = None  # largest share of rows that cannot be read; None is the default


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary(Summary):
    """The figures of a sample."""

    kind: ClassVar[str] = "sample"

    read: int  # rows of the source; read = kept + the sum of dropped
    kept: int
    tasks: int | None = None  # distinct tasks of the kept prompts
    characters: int | None = None  # of the kept prompts: system message and query
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> rows
    later_turns: int | None = field(default=None, metadata=OMIT_NONE)  # of conversations, those that are not used
    hub: dict[str, str] | None = field(default=None, metadata=OMIT_NONE)  # REPO@REVISION -> its commit at the download
