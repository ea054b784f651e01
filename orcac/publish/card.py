"""The model card of an exported student: README.md, with the front matter that a hub reads.

All figures come from the records in the store. Names and descriptions are of unknown origin, so they are escaped. The
card contains no path and no host of the machines that made the student.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from orcac.collect.recipe import CollectRecipe, CollectSummary
from orcac.filter.recipe import FilterSummary
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.publish.markdown import load_template
from orcac.publish.records import read_summary
from orcac.recipe import HubRef
from orcac.report.recipe import Arm, Dataset, Evaluation, Run, TrainedStage
from orcac.sample.recipe import SampleRecipe
from orcac.stats.intervals import Interval
from orcac.store.store import Store
from orcac.student.recipe import StudentRecipe, StudentSummary
from orcac.text import clock
from orcac.tokenize.recipe import TokenizeRecipe, TokenizeSummary
from orcac.train.apart import describe_apart, read_apart
from orcac.train.recipe import TrainRecipe, TrainSummary

__all__ = ["render_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """A row of the table of stages. A figure is None if the record that has it is gone."""

    name: str
    dataset: str
    examples: int | None
    steps: int | None
    tokens: int | None
    learning_rate: str
    first_loss: float | None
    final_loss: float | None
    apart: str  # loss on the examples kept apart, in words; "" without a holdout
    time: str
    hardware: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """A row of the table of datasets. A figure is None if the record that has it is gone."""

    name: str
    teacher: str
    model: str
    asked: int | None
    kept: int | None
    collect: str  # KIND/ID
    filter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """A row of the table of scores; shares are in [0, 1]."""

    benchmark: str
    score: str  # KIND/ID
    n: int
    mean: float | None
    interval: Interval
    chance: float
    unparsed_share: float
    cut_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsRow:
    """The scores of all runs of an arm on one benchmark, in [0, 1]."""

    benchmark: str
    means: list[float]
    missing: int  # runs without scores
    spread: float  # standard deviation of `means`


def render_card(plan: Plan, store: Store, *, spec: str, arm: Arm, run: Run, about: str) -> str:
    """Return the model card of one run of an arm, whose last stage is made, as Markdown."""
    assert run.student is not None
    made = store.artifact(run.stages[-1].train)["made"]
    student = plan.nodes[run.student]
    assert isinstance(student.recipe, StudentRecipe)
    rows = plan.nodes[run.stages[-1].tokenize].recipe
    assert isinstance(rows, TokenizeRecipe)
    trained = plan.nodes[run.stages[-1].train].recipe
    assert isinstance(trained, TrainRecipe)
    summary = read_summary(store, StudentSummary, run.student)
    nodes = [run.student, *(ref for dataset in run.datasets for ref in (dataset.collect, dataset.filter))]
    nodes += [ref for stage in run.stages for ref in (stage.tokenize, stage.train)]
    scores = [_score(store, evaluation) for evaluation in run.evaluations if store.is_done(evaluation.score)]
    learnt = [read_summary(store, TokenizeSummary, stage.tokenize) for stage in run.stages]
    base = student.recipe.pretrained
    return load_template("card.md.jinja").render(
        spec=spec,
        arm=arm.name,
        about=about,
        base_model=base.hub.repo if base and base.hub else "",
        datasets=sorted({ref.repo for dataset in run.datasets for ref in _hub_sources(plan, dataset)}),
        parameters=summary.parameters if summary else None,
        replaced=summary.replaced if summary else None,
        start=f"from {student.label}" if base else "from scratch",
        teachers=list(dict.fromkeys(dataset.teacher for dataset in run.datasets)),
        max_length=rows.max_length,
        adapter=trained.adapter,
        isolation=trained.isolation,
        reasons=any(packed and packed.reasoned for packed in learnt),
        stages=[_stage(plan.nodes[stage.train], store, stage) for stage in run.stages],
        data=[_dataset(plan.nodes[dataset.collect], store, dataset) for dataset in run.datasets],
        scores=scores,
        runs=len(arm.runs),
        run=_name_run(arm, run),
        runs_of=_read_runs(store, arm),
        versions={key: made.get(key, "") for key in ("orcac", "started")} | {"packages": made.get("packages", {})},
        nodes=[(ref, plan.nodes[ref].label) for ref in dict.fromkeys(nodes)],
    )


def _name_run(arm: Arm, run: Run) -> str:
    """Return the place of a run among those of its arm: "run 2 of 6, on draw 1 of 3 of the data"."""
    number, draws = arm.runs.index(run) + 1, len(arm.draws)
    draw = f", on draw {run.draw + 1} of {draws} of the data" if draws > 1 else ""
    return f"run {number} of {len(arm.runs)}{draw}"


def _read_runs(store: Store, arm: Arm) -> list[RunsRow]:
    """Return the scores of all runs of an arm, a row for each benchmark that several of them have answered."""
    found = []
    for name in (evaluation.benchmark for evaluation in arm.evaluations):
        scores = [one.score for run in arm.runs for one in run.evaluations if one.benchmark == name]
        means = [
            mean for ref in scores if store.is_done(ref) and (mean := _read_scores(store, ref)["mean"]) is not None
        ]
        if len(means) > 1:
            found.append(RunsRow(benchmark=name, means=means, missing=len(scores) - len(means), spread=stdev(means)))
    return found


def _hub_sources(plan: Plan, dataset: Dataset) -> Iterator[HubRef]:
    """Yield the repositories from which the dataset's questions or answers were read."""
    for ref in plan.closure([dataset.collect]):
        recipe = plan.nodes[ref].recipe
        if isinstance(recipe, SampleRecipe) and recipe.source:
            yield from recipe.source.hub
        elif isinstance(recipe, CollectRecipe) and recipe.recording:
            yield from recipe.recording.hub


def _stage(node: Node, store: Store, stage: TrainedStage) -> StageRow:
    trained, packed = (
        read_summary(store, TrainSummary, stage.train),
        read_summary(store, TokenizeSummary, stage.tokenize),
    )
    record = store.artifact(stage.train) if trained else {}
    hardware = record.get("hardware", {})
    gpus, threads = hardware.get("nodes", 1) * hardware.get("gpus", 0), hardware.get("threads", 1)
    cpu = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    losses = read_apart(store.find_folder(stage.train))
    assert isinstance(node.recipe, TrainRecipe)
    return StageRow(
        name=stage.name,
        dataset=stage.dataset,
        examples=packed.packed if packed else None,
        steps=trained.steps if trained else None,
        tokens=trained.tokens if trained else None,
        learning_rate=f"{node.recipe.learning_rate:g}",
        first_loss=trained.first_loss if trained else None,
        final_loss=trained.final_loss if trained else None,
        apart=describe_apart(losses, trained.kept_step if trained else None) if losses else "",
        time=clock(record.get("made", {}).get("seconds", 0)),
        hardware=f"{gpus} × {hardware.get('gpu') or 'GPU'}" if gpus else cpu,
    )


def _dataset(node: Node, store: Store, dataset: Dataset) -> DatasetRow:
    asked = read_summary(store, CollectSummary, dataset.collect)
    filtered = read_summary(store, FilterSummary, dataset.filter)
    assert isinstance(node.recipe, CollectRecipe)
    return DatasetRow(
        name=dataset.name,
        teacher=dataset.teacher,
        model=node.recipe.model,
        asked=asked.prompts if asked else None,
        kept=filtered.kept if filtered else None,
        collect=dataset.collect,
        filter=dataset.filter,
    )


def _score(store: Store, evaluation: Evaluation) -> ScoreRow:
    """Return the scores of an evaluation."""
    scores = _read_scores(store, evaluation.score)
    n, outcomes = scores["n"], scores["outcomes"]
    return ScoreRow(
        benchmark=evaluation.benchmark,
        score=evaluation.score,
        n=n,
        mean=scores["mean"],
        interval=Interval(*scores["interval"]),
        chance=scores["chance"],
        unparsed_share=outcomes["unparsed"] / max(n, 1),
        cut_share=outcomes["cut"] / max(n, 1),
    )


def _read_scores(store: Store, ref: str) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((store.verify(ref) / "scores.json").read_text(encoding="utf-8"))
    return scores
