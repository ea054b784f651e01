"""Every number of the report, typed: `results.json` is these, and the page, the Markdown and the terminal's table
show nothing else. Shares and differences are in [-1, 1]; only what is printed is turned into percent and points.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from orcac.stats import Interval

__all__ = [
    "ArmAnswer",
    "ArmResult",
    "Benchmark",
    "Curve",
    "Difference",
    "Flow",
    "Packing",
    "Results",
    "Sample",
    "Score",
    "StageResult",
    "TaskScore",
    "Teacher",
    "to_json",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An arm minus the base, over the items that both answered."""

    items: int
    points: float  # a share, positive where the arm is better
    interval: Interval  # paired bootstrap, 95 %
    only_arm: int  # items that only this arm got right
    only_base: int
    p: float  # McNemar, exact
    p_holm: float  # over all comparisons of the report
    verdict: str  # "better", "worse", "no difference shown": by p_holm at 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    task: str
    n: int
    correct: int
    unparsed: int
    accuracy: float
    interval: Interval  # Wilson, 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One arm on one benchmark."""

    arm: str
    n: int
    correct: int
    unparsed: int
    accuracy: float
    interval: Interval  # Wilson, 95 %
    p_above_chance: float
    verdict: str  # "at chance", "no better than a constant answer", "above chance"
    difference: Difference | None  # None for the base, and where the base did not answer these items
    tasks: tuple[TaskScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAnswer:
    arm: str
    response: str
    parsed: str
    correct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An item with what each arm said to it; texts are cut to a readable length."""

    task: str
    query: str
    reference: str
    answers: tuple[ArmAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    name: str
    n: int
    chance: float  # guessing among each item's options
    constant: float  # always giving a task's most frequent answer
    paper: float | None  # Orca-13B as published, where every task is in the paper
    task_chance: dict[str, float]
    task_paper: dict[str, float]
    scores: tuple[Score, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    stage: str
    dataset: str
    examples: int
    rows: int
    steps: int
    tokens: int
    first_loss: float
    final_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    name: str
    parameters: int
    stages: tuple[StageResult, ...]
    examples: int  # summed over the stages, as are the next two
    steps: int
    tokens: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Where every row of a dataset went. `arms` are those that use it."""

    dataset: str
    teacher: str
    arms: tuple[str, ...]
    queries: int  # read from the sources
    asked: int
    answered: int
    failed: dict[str, int]
    read: int  # by the filter
    kept: int
    rejected: dict[str, int]
    balanced: bool  # asked = answered + failed, and read = kept + rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    dataset: str
    arms: tuple[str, ...]
    examples: int
    packed: int
    too_long: int
    rows: int
    tokens: int
    supervised_tokens: int
    fill: float
    balanced: bool  # examples = packed + too_long


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    name: str
    requests: int
    input_tokens: int
    output_tokens: int
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Training loss along an arm's stages. `steps` go on from stage to stage; long runs are thinned by averaging."""

    arm: str
    stage: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    title: str
    about: str
    base: str
    all_at_chance: bool
    benchmarks: tuple[Benchmark, ...]
    arms: tuple[ArmResult, ...]
    flows: tuple[Flow, ...]
    packings: tuple[Packing, ...]
    teachers: tuple[Teacher, ...]
    curves: tuple[Curve, ...]


def to_json(results: Results) -> str:
    """Fields in the order above, so that a reader meets the scores first."""
    return json.dumps(asdict(results), indent=1, allow_nan=False) + "\n"
