"""Reads the artifacts of every arm into `Results`. What several arms share is one artifact, and is counted once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from orcac import rows
from orcac.collect.recipe import CollectSummary
from orcac.filter.recipe import FilterSummary
from orcac.job import Job
from orcac.report.compare import adjusted, benchmark
from orcac.report.recipe import Arm, Dataset, Evaluation, ReportExecution, ReportRecipe, TrainedStage
from orcac.report.results import ArmResult, Benchmark, Curve, Flow, Packing, Results, StageResult, Teacher
from orcac.sample.recipe import SampleSummary
from orcac.student.recipe import StudentSummary
from orcac.summary import Summary
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train.recipe import TrainSummary

__all__ = ["gather"]

CURVE_POINTS = 150  # of a stage

S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The folders of the nodes, by KIND/ID."""

    folders: Mapping[str, Path]

    def record(self, ref: str) -> dict[str, Any]:
        return json.loads((self.folders[ref] / "artifact.json").read_text(encoding="utf-8"))

    def summary(self, summary: type[S], ref: str) -> S:
        return summary.from_json(self.record(ref)["summary"], self.folders[ref] / "artifact.json")

    def answers(self, ref: str) -> list[rows.Answer]:
        return list(rows.read(self.folders[ref] / "answers.parquet", rows.Answer))

    def metrics(self, ref: str) -> list[dict[str, Any]]:
        text = (self.folders[ref] / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def gather(job: Job[ReportRecipe, ReportExecution]) -> Results:
    store, order = Artifacts(job.by_ref), _order(job.execution.order)
    arms = tuple(sorted(job.recipe.arms, key=lambda arm: order(arm.name)))
    benchmarks = _benchmarks(store, job.recipe, arms, order)
    students = {arm.name for arm in arms}
    scores = [score for bench in benchmarks for score in bench.scores if score.arm in students]
    return Results(
        title=job.execution.title,
        about=job.execution.about,
        base=arms[0].name,
        all_at_chance=bool(scores) and all(score.verdict == "at chance" for score in scores),
        benchmarks=benchmarks,
        arms=tuple(_arm(store, arm) for arm in arms),
        flows=tuple(_flow(store, dataset, users) for dataset, users in _users(arms, _datasets)),
        packings=tuple(_packing(store, stage, users) for stage, users in _users(arms, _stages)),
        teachers=_teachers(store, arms),
        curves=tuple(curve for arm in arms for curve in _curves(store, arm)),
    )


def _order(names: tuple[str, ...]) -> Callable[[str], int]:
    """The place of a name in the spec; what the spec no longer names comes last, in the recipe's order."""
    places = {name: place for place, name in enumerate(names)}
    return lambda name: places.get(name, len(names))


def _benchmarks(
    store: Artifacts, recipe: ReportRecipe, arms: tuple[Arm, ...], order: Callable[[str], int]
) -> tuple[Benchmark, ...]:
    """In the spec's order. A baseline is a row as an arm is, under a name that no arm can have."""
    baselines, seed = sorted(recipe.baselines, key=lambda baseline: order(baseline.name)), recipe.seed
    evaluations: dict[str, dict[str, Evaluation]] = {}
    rows_of = [(arm.name, arm.evaluations) for arm in arms]
    rows_of += [(f"{baseline.name} (baseline)", baseline.evaluations) for baseline in baselines]
    for row, scored in rows_of:
        for evaluation in scored:
            evaluations.setdefault(evaluation.benchmark, {})[row] = evaluation
    found = []
    for name, by_arm in sorted(evaluations.items(), key=lambda item: order(item[0])):
        source = store.record(next(iter(by_arm.values())).items)["recipe"].get("source") or {}
        answers = {arm: store.answers(evaluation.eval) for arm, evaluation in by_arm.items()}
        found.append(benchmark(name, source.get("format", ""), answers, base=arms[0].name, seed=seed))
    return adjusted(found)


def _arm(store: Artifacts, arm: Arm) -> ArmResult:
    stages = tuple(_stage(store, stage) for stage in arm.stages)
    nodes = [arm.student]
    for dataset in arm.datasets:
        nodes += [*dataset.prompts, dataset.collect, dataset.filter]
    for stage in arm.stages:
        nodes += [stage.tokenize, stage.train]
    for evaluation in arm.evaluations:
        nodes += [evaluation.items, evaluation.eval]
    return ArmResult(
        name=arm.name,
        parameters=store.summary(StudentSummary, arm.student).parameters,
        stages=stages,
        examples=sum(stage.examples for stage in stages),
        steps=sum(stage.steps for stage in stages),
        tokens=sum(stage.tokens for stage in stages),
        nodes=tuple(dict.fromkeys(nodes)),
    )


def _stage(store: Artifacts, stage: TrainedStage) -> StageResult:
    packed, trained = store.summary(TokenizeSummary, stage.tokenize), store.summary(TrainSummary, stage.train)
    return StageResult(
        stage=stage.name,
        dataset=stage.dataset,
        examples=packed.packed,
        rows=packed.rows,
        steps=trained.steps,
        tokens=trained.tokens,
        first_loss=trained.first_loss,
        final_loss=trained.final_loss,
    )


def _datasets(arm: Arm) -> Iterator[tuple[str, Dataset]]:
    for dataset in arm.datasets:
        yield dataset.filter, dataset


def _stages(arm: Arm) -> Iterator[tuple[str, TrainedStage]]:
    for stage in arm.stages:
        yield stage.tokenize, stage


def _users(arms: tuple[Arm, ...], parts: Any) -> list[tuple[Any, tuple[str, ...]]]:
    """Each distinct part (by the node it ends in) with the arms that use it, in the order met."""
    met: dict[str, tuple[Any, dict[str, None]]] = {}
    for arm in arms:
        for ref, part in parts(arm):
            met.setdefault(ref, (part, {}))[1][arm.name] = None
    return [(part, tuple(users)) for part, users in met.values()]


def _flow(store: Artifacts, dataset: Dataset, users: tuple[str, ...]) -> Flow:
    asked, filtered = store.summary(CollectSummary, dataset.collect), store.summary(FilterSummary, dataset.filter)
    return Flow(
        dataset=dataset.name,
        teacher=dataset.teacher,
        arms=users,
        queries=sum(store.summary(SampleSummary, ref).read for ref in dataset.prompts),
        asked=asked.prompts,
        answered=asked.answered,
        failed=asked.failed,
        read=filtered.read,
        kept=filtered.kept,
        rejected=filtered.rejected,
        balanced=asked.prompts == asked.answered + sum(asked.failed.values())
        and filtered.read == filtered.kept + sum(filtered.rejected.values()),
    )


def _packing(store: Artifacts, stage: TrainedStage, users: tuple[str, ...]) -> Packing:
    packed = store.summary(TokenizeSummary, stage.tokenize)
    return Packing(
        dataset=stage.dataset,
        arms=users,
        examples=packed.examples,
        packed=packed.packed,
        too_long=packed.too_long,
        rows=packed.rows,
        tokens=packed.tokens,
        supervised_tokens=packed.supervised_tokens,
        fill=packed.fill,
        balanced=packed.examples == packed.packed + packed.too_long,
    )


def _teachers(store: Artifacts, arms: tuple[Arm, ...]) -> tuple[Teacher, ...]:
    """Summed over the distinct collections of each teacher, by the teacher's name."""
    collections = {dataset.collect: dataset.teacher for arm in arms for dataset in arm.datasets}
    totals: dict[str, Teacher] = {}
    for ref, name in collections.items():
        asked = store.summary(CollectSummary, ref)
        before = totals.get(name, Teacher(name=name, requests=0, input_tokens=0, output_tokens=0, usd=0.0))
        totals[name] = Teacher(
            name=name,
            requests=before.requests + asked.prompts,
            input_tokens=before.input_tokens + asked.input_tokens,
            output_tokens=before.output_tokens + asked.output_tokens,
            usd=round(before.usd + asked.usd, 6),
        )
    return tuple(totals[name] for name in sorted(totals))


def _curves(store: Artifacts, arm: Arm) -> Iterator[Curve]:
    done = 0
    for stage in arm.stages:
        metrics = store.metrics(stage.train)
        size = -(-len(metrics) // CURVE_POINTS) or 1
        chunks = [metrics[start : start + size] for start in range(0, len(metrics), size)]
        yield Curve(
            arm=arm.name,
            stage=stage.name,
            steps=tuple(done + chunk[-1]["step"] for chunk in chunks),
            losses=tuple(sum(line["loss"] for line in chunk) / len(chunk) for chunk in chunks),
        )
        done += store.summary(TrainSummary, stage.train).steps
