"""The figures of several reports as one tidy table: one row for each figure, with the ids of its artifacts.

A row without a replicate is about all replicates of an arm and comes from `results.json`. A row with one is about that
run, comes from the score artifact, and is absent if that artifact was removed. Likewise a row without a task is about
all tasks. Shares and differences are in [-1, 1], as in `results.json`.

Metrics: `score` with its interval; `score by CHECKER` for a further checker; `macro`, the mean over tasks; `unparsed`
and `cut`, shares of the answers; `pass@K` and `majority` if items have several answers; `difference` to the base. For
each reference of a judge: `ratio to MODEL` of the points, with p of wins against losses; `first slot against MODEL`,
the position bias in points; `longer won against MODEL`, the share of the decided questions.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orcac.collect.recipe import CollectSummary
from orcac.errors import InputError, StoreError
from orcac.rate.recipe import RateSummary
from orcac.rate.reviewed import list_reviewed
from orcac.rate.wording import NodeFacts
from orcac.report.recipe import Evaluation, ReportRecipe, list_data, name_baseline
from orcac.report.results import Results, Score, read_json
from orcac.score.recipe import ScoreSummary
from orcac.stats.intervals import Interval
from orcac.store.store import Store

__all__ = ["COLUMNS", "Figure", "list_figures", "read_conditions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one report. A text is "" and a number is None if it does not apply."""

    study: str  # the spec's name
    arm: str  # as in the report: a baseline has the mark "(baseline)"
    replicate: int | None = None  # from 1
    benchmark: str
    task: str = ""
    metric: str
    value: float | None
    low: float | None = None  # of the 95 % interval
    high: float | None = None
    n: int | None = None  # items
    p: float | None = None  # of a difference, not adjusted
    p_holm: float | None = None
    verdict: str = ""
    usd: float | None  # of the answers that an arm learnt from and of the reviews by which a judge chose them, or of a
    # baseline's own answers; and of all reviews of its answers to benchmarks: the same in all its rows
    report: str  # KIND/ID
    answers: str = ""  # KIND/ID of the answers, one for each run that the figure is about
    score: str = ""


COLUMNS = tuple(field.name for field in dataclasses.fields(Figure))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a report: its evaluations, a list for each run, and the collect nodes and the data that it paid for.

    A judge's reviews are part of the evaluations.
    """

    runs: Sequence[Sequence[Evaluation]]
    collected: Sequence[str]
    data: Sequence[str] = ()  # the nodes of an arm's data, which a judge's ratings may have chosen


def read_conditions(texts: Iterable[str]) -> Callable[[Figure], bool]:
    """Return whether a figure meets conditions such as `arm=base`, `benchmark!=bbh` or `task=logical_*`, as a function.

    One of the values must be met for each column with `=`, and all conditions with `!=`. A `*` is any text, and the
    rest is compared as it is. Raises InputError for a condition without `=` or about an unknown column.
    """
    wanted, unwanted = dict[str, list[str]](), list[tuple[str, str]]()
    for text in texts:
        column, sign, value = text.partition("=")
        column, is_not = column.removesuffix("!").strip(), column.endswith("!")
        if not sign or column not in COLUMNS:
            fix = f"write COLUMN=VALUE or COLUMN!=VALUE; the columns are {', '.join(COLUMNS)}"
            raise InputError(f"--where {text}: not a condition on a column", fix=fix)
        if is_not:
            unwanted.append((column, value.strip()))
        else:
            wanted.setdefault(column, []).append(value.strip())

    def is_met(figure: Figure) -> bool:
        def agrees(column: str, pattern: str) -> bool:
            value = getattr(figure, column)
            return _matches("" if value is None else str(value), pattern)

        return all(any(agrees(column, value) for value in values) for column, values in wanted.items()) and not any(
            agrees(column, value) for column, value in unwanted
        )

    return is_met


def _matches(text: str, pattern: str) -> bool:
    """Return whether a text is a pattern in which `*` is any text."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    text, place = text[: len(text) - len(last)] if last else text, len(first)
    for part in middle:
        if (place := text.find(part, place)) < 0:
            return False
        place += len(part)
    return True


def list_figures(store: Store, reports: Iterable[str], warn: Callable[[str], None] = lambda line: None) -> list[Figure]:
    """Return the figures of the reports (KIND/ID), sorted by study and report, then in the order of the report.

    A report that is damaged, or that this orcac cannot read, is left out after a call of `warn`.
    """
    found = []
    for ref in reports:
        try:
            folder = store.verify(ref)
            results = read_json(folder / "results.json")
            recipe = ReportRecipe.model_validate(store.artifact(ref)["recipe"])
        except (StoreError, ValueError, OSError) as error:
            warn(f"{ref} is left out: {str(error).splitlines()[0]}")
            continue
        found.append((results.title, ref, list(_list_of_report(store, ref, results, recipe))))
    return [figure for *_, figures in sorted(found, key=lambda one: one[:2]) for figure in figures]


def _list_of_report(store: Store, ref: str, results: Results, recipe: ReportRecipe) -> Iterator[Figure]:
    rows = _map_rows(results, recipe)
    judged = {bench.name for bench in results.benchmarks if bench.is_judged}
    costs = {name: _sum_usd(store, row, judged) for name, row in rows.items()}
    for bench in results.benchmarks:
        for score in bench.scores:
            row = rows.get(score.arm, _Row((), ()))
            runs = [one for run in row.runs for one in run if one.benchmark == bench.name]
            whole = Figure(
                study=results.title,
                arm=score.arm,
                benchmark=bench.name,
                metric="score",
                value=score.mean,
                low=score.interval[0],
                high=score.interval[1],
                n=score.n,
                verdict=score.verdict,
                usd=costs.get(score.arm),
                report=ref,
                answers=" ".join(one.answers for one in runs),
                score=" ".join(one.score for one in runs),
            )
            yield whole
            yield from _list_metrics(whole, score)
            for task in score.tasks:
                low, high = task.interval
                yield _part(whole, task=task.task, value=task.mean, low=low, high=high, n=task.n)
                if found := task.difference:
                    of = {"task": task.task, "metric": "difference", "value": found.points, "n": found.items}
                    yield _with_interval(_part(whole, **of), found.interval)
            if len(runs) > 1:
                for number, run in enumerate(runs, 1):
                    of_run = _part(whole, replicate=number, answers=run.answers, score=run.score)
                    yield from _list_of_run(store, of_run)


def _list_metrics(whole: Figure, score: Score) -> Iterator[Figure]:
    """Yield the figures of a score besides its mean."""
    yield _part(whole, metric="unparsed", value=score.unparsed_share, n=score.n)
    yield _part(whole, metric="cut", value=score.cut_share, n=score.n)
    if score.macro is not None:
        yield _part(whole, metric="macro", value=score.macro, n=score.n)
    if loss := score.loss:
        yield _part(whole, metric="bits per byte", value=loss.bits_per_byte, n=score.n)
        yield _part(whole, metric="nats per token", value=loss.nats_per_token, n=score.n)
        if loss.change is not None and loss.interval is not None:
            change = _part(whole, metric="difference in bits per byte", value=loss.change, n=score.n)
            yield _with_interval(change, loss.interval)
    for checker, mean in score.others.items():
        yield _part(whole, metric=f"score by {checker}", value=mean, n=score.n)
    if score.samples:
        for number, share in score.samples.passed.items():
            yield _part(whole, metric=f"pass@{number}", value=share, n=score.n)
        yield _part(whole, metric="majority", value=score.samples.majority, n=score.n)
    for against in score.judging.against if score.judging else ():
        figures, name = against.figures, against.model
        ratio = _part(whole, metric=f"ratio to {name}", value=figures.ratio, n=figures.questions, p=figures.p)
        yield _with_interval(ratio, figures.ratio_interval)
        bias = _part(whole, metric=f"first slot against {name}", value=figures.position_bias, n=figures.both_orders)
        yield _with_interval(bias, figures.position_interval)
        longer = figures.longer_wins / figures.longer_decided if figures.longer_decided else None
        of = {"n": figures.longer_decided, "p": figures.p_longer}
        yield _part(whole, metric=f"longer won against {name}", value=longer, **of)
    if found := score.difference:
        low, high = found.interval
        tested = {"p": found.p, "p_holm": found.p_holm, "verdict": found.verdict}
        yield _part(whole, metric="difference", value=found.points, low=low, high=high, n=found.items, **tested)


def _list_of_run(store: Store, run: Figure) -> Iterator[Figure]:
    """Yield the scores of one run, over all tasks and of each; nothing if its score artifact is gone."""
    try:
        store.artifact(run.score)  # an upstream's may hold links, which it refuses
        scores = json.loads((store.find_folder(run.score) / "scores.json").read_text(encoding="utf-8"))
        tasks = scores["tasks"] if len(scores["tasks"]) > 1 else {}
        for task, found in {"": scores, **tasks}.items():
            low, high = found["interval"]
            yield _part(run, task=task, value=found["mean"], low=low, high=high, n=found["n"])
    except (OSError, ValueError, KeyError, StoreError):
        return


def _part(whole: Figure, **changes: Any) -> Figure:
    """Return a figure like `whole` of something else: without an interval and a verdict, unless they are given."""
    return dataclasses.replace(whole, **{"low": None, "high": None, "verdict": ""} | changes)


def _with_interval(figure: Figure, interval: Interval | None) -> Figure:
    return dataclasses.replace(figure, low=interval.low, high=interval.high) if interval else figure


def _map_rows(results: Results, recipe: ReportRecipe) -> dict[str, _Row]:
    """Return name in the report -> its row. The only arm of a report may have the name of its model."""
    rows = {}
    for arm in recipe.arms:
        collected = dict.fromkeys(dataset.collect for run in arm.runs for dataset in run.datasets)
        name = arm.name if len(recipe.arms) > 1 else results.base
        rows[name] = _Row([run.evaluations for run in arm.runs], list(collected), list_data(arm))
    for baseline in recipe.baselines:
        collected = dict.fromkeys(ref for one in baseline.evaluations for ref in (one.answers, *one.samples))
        rows[name_baseline(baseline)] = _Row([baseline.evaluations], list(collected))
    return rows


def _sum_usd(store: Store, row: _Row, judged: Container[str]) -> float | None:
    """Return the dollars of a row's answers and reviews; None if the record of one is gone."""
    total = 0.0
    scores = dict.fromkeys(one.score for run in row.runs for one in run if one.benchmark in judged)
    try:
        rated = list_reviewed(row.data, lambda ref: _read_facts(store, ref))
    except _Gone:
        return None
    for ref in (*row.collected, *scores, *rated):
        if not store.has_record(ref):
            return None
        summary, marker = store.artifact(ref)["summary"], store.marker(ref)
        kind = CollectSummary if ref in row.collected else RateSummary if ref in rated else ScoreSummary
        total += kind.from_json(summary, marker).usd or 0.0
    return round(total, 6)


class _Gone(Exception):
    """The record of a node is gone."""


def _read_facts(store: Store, ref: str) -> NodeFacts:
    if not store.has_record(ref):
        raise _Gone
    record = store.artifact(ref)
    return NodeFacts(record["recipe"], record.get("inputs", {}))
