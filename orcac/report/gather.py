"""Reading the artifacts of every arm into `Results`. An artifact that several arms share is counted once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from orcac.collect.recipe import CollectSummary
from orcac.filter.funnel import count_funnels
from orcac.filter.recipe import FilterSummary
from orcac.job import Job
from orcac.rate.recipe import RateSummary
from orcac.rate.reviewed import list_reviewed
from orcac.rate.wording import NodeFacts, describe_choices, describe_order
from orcac.report.compare import Table, compare_benchmarks
from orcac.report.protocol import read_protocol
from orcac.report.recipe import (
    Arm,
    Baseline,
    Claim,
    Dataset,
    Draws,
    Evaluation,
    ReportExecution,
    ReportRecipe,
    Run,
    TrainedStage,
    is_trained,
    list_data,
    map_benchmarks,
    name_baseline,
    name_drawn,
)
from orcac.report.results import (
    REASONS_STILL,
    ArmResult,
    Benchmark,
    Curve,
    Flow,
    HeldOut,
    Packing,
    Results,
    StageResult,
    Teacher,
)
from orcac.report.reviews import read_judging
from orcac.report.runs import Row, read_engines
from orcac.sample.recipe import SampleSummary
from orcac.score import scores
from orcac.score.recipe import ScoreSummary
from orcac.store.store import read_record
from orcac.student.recipe import StudentSummary
from orcac.summary import Summary
from orcac.tokenize.holdout import read_groups
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train import apart
from orcac.train.recipe import TrainSummary

__all__ = ["gather"]

CURVE_POINTS = 150  # at most, of one stage

S = TypeVar("S", bound=Summary)
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The artifacts of the nodes. `folders` has their folders by KIND/ID."""

    folders: Mapping[str, Path]

    def summary(self, summary: type[S], ref: str) -> S:
        """Return the summary of an artifact. Raises StoreError if it is damaged."""
        return summary.from_json(self._record(ref).get("summary"), self.folders[ref] / "artifact.json")

    def source_format(self, ref: str) -> str:
        """Return the format of a sample's source; "" for a subset, which has none."""
        return str((self._record(ref)["recipe"].get("source") or {}).get("format", ""))

    def is_judged(self, ref: str) -> bool:
        """Return whether a judge made scores or ratings."""
        return (self.folders[ref] / "reviews.parquet").exists()

    def judge(self, ref: str) -> str:
        """Return the model of the judge that made scores or ratings."""
        return str(self._record(ref)["recipe"]["judge"]["asked"]["model"])

    def references(self, ref: str) -> dict[str, str]:
        """Return the collect nodes whose answers a judge compared with those that it scored: KIND/ID -> model."""
        found = self._record(ref)["inputs"].get("against", ())
        return {one: str(self._record(one)["recipe"]["model"]) for one in found if one in self.folders}

    def facts(self, ref: str) -> NodeFacts:
        """Return the recipe and the inputs of a node."""
        record = self._record(ref)
        return NodeFacts(record["recipe"], record.get("inputs", {}))

    def _record(self, ref: str) -> dict[str, Any]:
        return read_record(self.folders[ref] / "artifact.json")

    def scores(self, ref: str) -> scores.Answers:
        """Return the scored answers of an arm, in the order of the items."""
        return scores.read(self.folders[ref])

    def losses(self, ref: str) -> list[tuple[int, float]]:
        """Return (step, training loss) of each step of a stage."""
        lines = (self.folders[ref] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [(values["step"], values["loss"]) for values in map(json.loads, lines)]


def gather(job: Job[ReportRecipe, ReportExecution]) -> Results:
    """Read all numbers of the report. Raises StoreError if a summary is damaged."""
    store, place = Artifacts(job.by_ref), _places(job.execution.order)
    arms = tuple(sorted(job.recipe.arms, key=lambda arm: place(arm.name)))
    if job.execution.model:
        arms = (arms[0].model_copy(update={"name": job.execution.model}),)
    benchmarks = _benchmarks(store, job.recipe, arms, place)
    students = {arm.name for arm in arms}
    scores = [score for bench in benchmarks if bench.has_right_answers for score in bench.scores]
    verdicts = {score.verdict for score in scores if score.arm in students}
    return Results(
        title=job.execution.title,
        about=job.execution.about,
        base=arms[0].name,
        primary=tuple(sorted(job.recipe.primary, key=place)),
        all_at_chance=bool(verdicts) and verdicts <= {"at chance", "below chance"},
        benchmarks=benchmarks,
        arms=tuple(_arm(store, arm, arm.student) for arm in arms if arm.student),
        flows=tuple(_flow(store, dataset, users) for dataset, users in _with_users(arms, _datasets)),
        packings=tuple(_packing(store, stage, users) for stage, users in _with_users(arms, _stages)),
        teachers=_teachers(store, job.recipe),
        curves=tuple(curve for arm in arms for curve in _curves(store, arm)),
        held_out=tuple(
            group for stage, users in _with_users(arms, _first_stages) for group in _held_out(store, stage, users)
        ),
    )


def _places(names: tuple[str, ...]) -> Callable[[str], int]:
    """Return a function from a name to its place in the spec; a name that the spec no longer has comes last."""
    places = {name: place for place, name in enumerate(names)}
    return lambda name: places.get(name, len(names))


def _benchmarks(
    store: Artifacts, recipe: ReportRecipe, arms: tuple[Arm, ...], place: Callable[[str], int]
) -> tuple[Benchmark, ...]:
    """Return the benchmarks in the spec's order. A baseline is a row like an arm, under a name that no arm can have."""
    baselines = sorted(recipe.baselines, key=lambda baseline: place(baseline.name))
    rows_of: dict[str, Draws] = {arm.name: arm.draws for arm in arms}
    rows_of |= {name_baseline(baseline): [[baseline]] for baseline in baselines}
    evaluations: dict[str, dict[str, list[list[Evaluation]]]] = {}  # benchmark -> row -> by draw and run
    for row, draws in rows_of.items():
        for name, of_row in map_benchmarks(draws).items():
            evaluations.setdefault(name, {})[row] = of_row
    tables = []
    for name, by_row in sorted(evaluations.items(), key=lambda item: place(item[0])):
        rows = {row: _row(store, draws, rows_of[row]) for row, draws in by_row.items()}
        items = next(iter(by_row.values()))[0][0].items
        tables.append(
            Table(
                name,
                store.source_format(items),
                rows,
                is_primary=name not in recipe.exploratory,
                claim=recipe.claims.get(name, Claim()),
                dropped=store.summary(SampleSummary, items).dropped,
                without_row=[row for row in rows_of if row not in rows and isinstance(rows_of[row][0][0], Baseline)],
            )
        )
    return compare_benchmarks(tables, base=arms[0].name, primary=recipe.primary)


def _row(store: Artifacts, evaluations: list[list[Evaluation]], draws: Draws) -> Row:
    """Return the answers of the row made of `draws` to one benchmark, by its `evaluations`."""
    is_baseline, first = isinstance(draws[0][0], Baseline), evaluations[0][0]
    folders = (store.folders[one.answers] for runs in evaluations for one in runs)
    protocol = read_protocol(store.folders, first.answers, samples=1 + len(first.samples))
    omitted = Counter[str]()
    for ref in (first.answers, *first.samples) if is_baseline else ():
        asked = store.summary(CollectSummary, ref)
        omitted.update(asked.omitted or {})
        if protocol.reasoning == "off" and asked.reasoned:
            omitted[REASONS_STILL] += asked.reasoned
    return Row(
        draws=[[store.scores(one.score) for one in runs] for runs in evaluations],
        is_baseline=is_baseline,
        is_trained=is_trained(draws),
        engines=read_engines(() if is_baseline else folders),
        judging=read_judging([store.folders[one.score] for runs in evaluations for one in runs]),
        omitted=omitted,
        protocol=protocol,
    )


def _arm(store: Artifacts, arm: Arm, student: str) -> ArmResult:
    stages = tuple(_stage(store, stage) for stage in arm.stages)
    collected = {dataset.collect for run in arm.runs for dataset in run.datasets}
    paid = [store.summary(CollectSummary, ref).usd for ref in sorted(collected)]
    paid += [store.summary(RateSummary, ref).usd or 0.0 for ref in list_reviewed(list_data(arm), store.facts)]
    nodes = []
    for run in arm.runs:
        nodes += [run.student] if run.student else []
        for dataset in run.datasets:
            nodes += [*dataset.prompts, dataset.collect, dataset.filter]
        for stage in run.stages:
            nodes += [stage.tokenize, stage.train]
        for evaluation in run.evaluations:
            nodes += [evaluation.items, evaluation.answers, evaluation.score]
    summary = store.summary(StudentSummary, student)
    return ArmResult(
        name=arm.name,
        runs=len(arm.runs),
        draws=len(arm.draws),
        parameters=summary.parameters,
        stages=stages,
        examples=sum(stage.examples for stage in stages),
        steps=sum(stage.steps for stage in stages),
        tokens=sum(stage.tokens for stage in stages),
        nodes=tuple(dict.fromkeys(nodes)),
        usd=round(sum(paid), 6),
        is_isolated=all(store.facts(stage.train).recipe.get("isolation", True) for stage in arm.stages),
        replaced=summary.replaced or "",
    )


def _stage(store: Artifacts, stage: TrainedStage) -> StageResult:
    packed, trained = store.summary(TokenizeSummary, stage.tokenize), store.summary(TrainSummary, stage.train)
    return StageResult(
        stage=stage.name,
        dataset=_name_learnt(stage.dataset, packed),
        examples=packed.packed,
        rows=packed.rows,
        steps=trained.steps,
        tokens=trained.tokens,
        first_loss=trained.first_loss,
        final_loss=trained.final_loss,
    )


def _datasets(arm: Arm) -> Iterator[tuple[str, Dataset]]:
    for run in arm.runs:
        for dataset in run.datasets:
            yield dataset.filter, dataset.model_copy(update={"name": name_drawn(dataset.name, run.draw)})


def _stages(arm: Arm) -> Iterator[tuple[str, TrainedStage]]:
    for run in arm.runs:
        for stage in run.stages:
            yield stage.tokenize, stage.model_copy(update={"dataset": name_drawn(stage.dataset, run.draw)})


def _with_users(
    arms: tuple[Arm, ...], parts: Callable[[Arm], Iterator[tuple[str, P]]]
) -> list[tuple[P, tuple[str, ...]]]:
    """Return each distinct part, by its KIND/ID, with the arms that use it, in the order of the arms."""
    users_of: dict[str, tuple[P, dict[str, None]]] = {}
    for arm in arms:
        for ref, part in parts(arm):
            users_of.setdefault(ref, (part, {}))[1][arm.name] = None
    return [(part, tuple(users)) for part, users in users_of.values()]


def _flow(store: Artifacts, dataset: Dataset, users: tuple[str, ...]) -> Flow:
    asked, filtered = store.summary(CollectSummary, dataset.collect), store.summary(FilterSummary, dataset.filter)
    samples = [store.summary(SampleSummary, ref) for ref in dataset.prompts]
    queries, drawn = sum(sample.read for sample in samples), sum(sample.kept for sample in samples)
    dropped = sum((Counter(sample.dropped) for sample in samples), Counter[str]())
    return Flow(
        dataset=dataset.name,
        teacher=dataset.teacher,
        arms=users,
        queries=queries,
        drawn=drawn,
        dropped=dict(sorted(dropped.items())),
        asked=asked.prompts,
        answered=asked.answered,
        failed=asked.failed,
        read=filtered.read,
        kept=filtered.kept,
        rejected=filtered.rejected,
        choices=tuple(describe_choices(dataset.name, dataset.collect, store.facts)),
        balanced=queries == drawn + dropped.total()
        and asked.prompts == asked.answered + sum(asked.failed.values())
        and filtered.read == filtered.kept + sum(filtered.rejected.values()),
        funnels=count_funnels(store.folders[dataset.filter]),
    )


def _name_learnt(dataset: str, packed: TokenizeSummary) -> str:
    """Return the name of a dataset, with remarks on the rows: they hold reasoning, some examples are changed."""
    changed = "" if packed.transformed is None else f", {packed.transformed:,} examples changed"
    return f"{dataset}{', with reasoning' if packed.reasoned else ''}{changed}"


def _packing(store: Artifacts, stage: TrainedStage, users: tuple[str, ...]) -> Packing:
    packed = store.summary(TokenizeSummary, stage.tokenize)
    return Packing(
        dataset=_name_learnt(stage.dataset, packed),
        arms=users,
        examples=packed.examples,
        packed=packed.packed,
        too_long=packed.too_long,
        outside=packed.outside or {},
        forged=packed.forged or 0,
        rows=packed.rows,
        tokens=packed.tokens,
        supervised_tokens=packed.supervised_tokens,
        fill=packed.fill,
        held_out=packed.held_out or 0,
        undrawn=packed.undrawn or 0,
        repeated=packed.repeated or 0,
        order=tuple(describe_order(stage.tokenize, store.facts)),
        balanced=packed.examples + (packed.repeated or 0)
        == packed.packed
        + packed.too_long
        + sum((packed.outside or {}).values())
        + (packed.forged or 0)
        + (packed.held_out or 0)
        + (packed.undrawn or 0),
    )


def _teachers(store: Artifacts, recipe: ReportRecipe) -> tuple[Teacher, ...]:
    """Return the totals of each teacher, baseline and judge over its distinct nodes, by name.

    A teacher whose answers a judge compares with those of a row is one of them.
    """
    collections = {
        dataset.collect: dataset.teacher for arm in recipe.arms for run in arm.runs for dataset in run.datasets
    }
    collections |= {
        ref: baseline.name
        for baseline in recipe.baselines
        for evaluation in baseline.evaluations
        for ref in (evaluation.answers, *evaluation.samples)
    }
    rows: list[Run | Baseline] = [*(run for arm in recipe.arms for run in arm.runs), *recipe.baselines]
    scores = dict.fromkeys(evaluation.score for row in rows for evaluation in row.evaluations)
    judged = [ref for ref in scores if store.is_judged(ref)]
    for ref in judged:
        collections = store.references(ref) | collections
    judged += [ref for ref in store.folders if ref.startswith("rate/") and store.is_judged(ref)]
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
    for ref in judged:
        is_rating = ref.startswith("rate/")
        reviewed = store.summary(RateSummary, ref) if is_rating else store.summary(ScoreSummary, ref)
        name = f"{store.judge(ref)} (judge)"
        before = totals.get(name, Teacher(name=name, requests=0, input_tokens=0, output_tokens=0, usd=0.0))
        totals[name] = Teacher(
            name=name,
            requests=before.requests + (reviewed.reviews or 0),
            input_tokens=before.input_tokens + (reviewed.input_tokens or 0),
            output_tokens=before.output_tokens + (reviewed.output_tokens or 0),
            usd=round(before.usd + (reviewed.usd or 0.0), 6),
        )
    return tuple(totals[name] for name in sorted(totals))


def _first_stages(arm: Arm) -> Iterator[tuple[str, TrainedStage]]:
    return ((stage.train, stage) for stage in arm.stages)


def _held_out(store: Artifacts, stage: TrainedStage, users: tuple[str, ...]) -> Iterator[HeldOut]:
    """Yield the losses of each group of examples that a stage keeps apart."""
    groups = read_groups(store.folders[stage.tokenize])
    if not groups:
        return
    path = store.folders[stage.train] / apart.FILE
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for group in groups:
        yield HeldOut(
            arms=users,
            stage=stage.name,
            teacher=group.teacher,
            source=group.source,
            examples=group.examples,
            steps=tuple(line["step"] for line in lines),
            losses=tuple(line["groups"][group.name] for line in lines),
        )


def _curves(store: Artifacts, arm: Arm) -> Iterator[Curve]:
    done = 0
    for stage in arm.stages:
        losses = store.losses(stage.train)
        size = -(-len(losses) // CURVE_POINTS) or 1
        chunks = [losses[start : start + size] for start in range(0, len(losses), size)]
        yield Curve(
            arm=arm.name,
            stage=stage.name,
            steps=tuple(done + chunk[-1][0] for chunk in chunks),
            losses=tuple(sum(loss for _, loss in chunk) / len(chunk) for chunk in chunks),
        )
        done += store.summary(TrainSummary, stage.train).steps
