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

from orcac.fields import NUMBERS_ONLY, Whole, execution, label, semantic
from orcac.recipe import Frozen
from orcac.spec.schema.answers import (
    Bounds,
    ByJudge,
    Contamination,
    Dataset,
    Draw,
    Draws,
    Duplicates,
    Endpoint,
    Filters,
    Judge,
    LocalEndpoint,
    Measure,
    OpenAIEndpoint,
    ReferenceEndpoint,
    ReplayEndpoint,
    Sample,
    Selection,
    SolverEndpoint,
    SystemMessages,
    Teacher,
    Transform,
    VLLMEndpoint,
    is_drawn,
)
from orcac.spec.schema.sources import (
    Benchmark,
    Expect,
    Fields,
    FileSource,
    FormBenchmark,
    FormQueries,
    GeneratedBenchmark,
    GeneratedQueries,
    OpenBenchmark,
    Queries,
    ScoredBenchmark,
    TableBenchmark,
    TableQueries,
    TruthfulQABenchmark,
)
from orcac.spec.schema.training import (
    PAPERS_EPOCHS,
    SHAPES,
    Adapter,
    EvalWork,
    Gpu,
    Hardware,
    Length,
    Order,
    Part,
    Parts,
    Replicated,
    Replicates,
    Runs,
    SameAs,
    Shape,
    Size,
    Stage,
    Student,
    Tokenizer,
    TrainWork,
    Work,
)
from orcac.spec.units import Dollars, Name

__all__ = [
    "PAPERS_EPOCHS",
    "SHAPES",
    "Adapter",
    "Benchmark",
    "Bounds",
    "ByJudge",
    "Contamination",
    "Dataset",
    "Draw",
    "Draws",
    "Duplicates",
    "Endpoint",
    "EvalWork",
    "Expect",
    "Fields",
    "FileSource",
    "Filters",
    "FormBenchmark",
    "FormQueries",
    "GeneratedBenchmark",
    "GeneratedQueries",
    "Gpu",
    "Hardware",
    "Judge",
    "Length",
    "LocalEndpoint",
    "Measure",
    "OpenAIEndpoint",
    "OpenBenchmark",
    "Order",
    "Part",
    "Parts",
    "Queries",
    "ReferenceEndpoint",
    "ReplayEndpoint",
    "Replicated",
    "Replicates",
    "Runs",
    "SameAs",
    "Sample",
    "ScoredBenchmark",
    "Selection",
    "Shape",
    "Size",
    "SolverEndpoint",
    "Spec",
    "Stage",
    "Student",
    "SystemMessages",
    "TableBenchmark",
    "TableQueries",
    "Teacher",
    "Tokenizer",
    "TrainWork",
    "Transform",
    "TruthfulQABenchmark",
    "VLLMEndpoint",
    "Work",
    "is_drawn",
]


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
    replicates: Replicated = semantic("training runs of each arm, and draws of its data", Replicates())
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
        "dotted path -> values; every arm is repeated at each combination of the values. `*` in a path is every key "
        "there, as in `stages.*.learning_rate`: all of them get the value",
        {},
    )
    primary: tuple[str, ...] | None = semantic(
        "the arms (of `ablations` and `sweep`) that get verdicts, adjusted for the number of these alone (Holm); the "
        "others' comparisons are exploratory. Without it, all arms get verdicts",
        None,
    )
