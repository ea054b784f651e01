"""The recipe of `report`, which makes `report.html` (one self-contained page), `report.md` and `results.json`.

Inputs: `nodes`, every node that the spec's arms need; the report reads their artifacts. The recipe names the role of
each, by KIND/ID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from orcac.recipe import Execution, Frozen, Recipe
from orcac.stats.averages import Average
from orcac.summary import Summary

__all__ = [
    "VERSION",
    "Arm",
    "Baseline",
    "Claim",
    "Dataset",
    "Draws",
    "Evaluation",
    "ReportExecution",
    "ReportRecipe",
    "ReportSummary",
    "Run",
    "TrainedStage",
    "is_trained",
    "list_data",
    "map_benchmarks",
    "name_baseline",
    "name_drawn",
]

VERSION = 1


class Dataset(Frozen):
    name: str
    prompts: tuple[str, ...]  # sample nodes
    collect: str
    filter: str
    teacher: str


class TrainedStage(Frozen):
    name: str
    dataset: str
    tokenize: str
    train: str


class Evaluation(Frozen):
    benchmark: str
    items: str  # sample node
    answers: str  # eval node, or the collect node of a baseline
    samples: tuple[str, ...] = ()  # a baseline's collect nodes of further samples
    score: str


class Run(Frozen):
    """One training run of an arm, as the nodes it is made of."""

    draw: int = 0  # the number of the draw of its data
    student: str | None  # None if the spec only collects answers, or measures baselines alone
    datasets: tuple[Dataset, ...]
    stages: tuple[TrainedStage, ...]
    evaluations: tuple[Evaluation, ...]


class Arm(Run):
    """One variant: its first run, and the others. The first arm is the base, which the others are tested against."""

    name: str
    replicates: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs of the arm, the first one included."""
        return (self, *self.replicates)

    @property
    def draws(self) -> list[list[Run]]:
        """The runs, by the draw of their data."""
        return [[run for run in self.runs if run.draw == draw] for draw in sorted({run.draw for run in self.runs})]


class Baseline(Frozen):
    """A teacher that answered the benchmarks itself."""

    name: str
    evaluations: tuple[Evaluation, ...]


class Claim(Frozen):
    """The form of the verdicts on one benchmark."""

    average: Average = "micro"
    margin: float | None = None  # points within which an arm is called equal to the base


def list_data(arm: Arm) -> list[str]:
    """Return the sample, filter and tokenize nodes of an arm's data."""
    return [
        *(ref for run in arm.runs for dataset in run.datasets for ref in (*dataset.prompts, dataset.filter)),
        *(stage.tokenize for run in arm.runs for stage in run.stages),
    ]


Draws = Sequence[Sequence[Run | Baseline]]  # the runs of a row of the report, by the draw of their data


def map_benchmarks(draws: Draws) -> dict[str, list[list[Evaluation]]]:
    """Return benchmark -> its evaluations, by draw and run."""
    names = dict.fromkeys(one.benchmark for one in draws[0][0].evaluations)
    return {
        name: [[one for run in runs for one in run.evaluations if one.benchmark == name] for runs in draws]
        for name in names
    }


def is_trained(draws: Draws) -> bool:
    """Return whether a row's model is trained by the spec; a baseline and an arm without stages are not."""
    first = draws[0][0]
    return isinstance(first, Run) and bool(first.stages)


def name_baseline(baseline: Baseline) -> str:
    """Return the name of a baseline's row, which no arm can have."""
    return f"{baseline.name} (baseline)"


def name_drawn(name: str, draw: int) -> str:
    """Return the name of a dataset with the mark of the draw, as in the plan."""
    return f"{name} ~{draw}" if draw else name


class ReportRecipe(Recipe):
    """The base is the first arm; the others are sorted by name, so that their order in the spec enters no id."""

    arms: tuple[Arm, ...]
    baselines: tuple[Baseline, ...] = ()
    exploratory: tuple[str, ...] = ()  # benchmarks on which no verdict is given, sorted
    claims: dict[str, Claim] = {}  # benchmark -> its claim, if that is not the default one
    primary: tuple[str, ...] = ()  # arms that alone get verdicts, sorted; () if all arms do


class ReportExecution(Execution):
    title: str = ""  # the spec's name
    about: str = ""
    model: str = ""  # the name of the base's row, if the spec only measures a pretrained student; "": the arm's own
    # the names of arms, baselines and benchmarks, in the order of the spec, with the primary arms next to the base
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary(Summary):
    kind: ClassVar[str] = "report"

    arms: int
    benchmarks: int
    all_at_chance: bool
