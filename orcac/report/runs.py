"""The scored answers of one row of the report, an arm or a baseline, over all its runs.

Arms answer the same items, which are joined by the items' ids; the k-th item of a repeated id is joined with the k-th.
An arm with several draws of its data has one replicate for each draw, the mean over its runs; otherwise each run is a
replicate. A replicate with the answers of an earlier one does not count: its seed had no effect, so it shows nothing of
the luck of training.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orcac.eval.recipe import EvalSummary
from orcac.report.results import Judging, Protocol
from orcac.rows import Scored
from orcac.score.scores import Answers, by_item, merge
from orcac.store.store import read_record

__all__ = [
    "Key",
    "Row",
    "average",
    "drop_repeated",
    "key_answers",
    "mean_of_known",
    "pool",
    "read_score",
    "tabulate",
]

Key = tuple[str, int]  # item id, number of earlier items with this id


@dataclass(frozen=True, slots=True)
class Row:
    """The answers of all runs of an arm, by the draw of their data; a baseline has one run."""

    draws: Sequence[Sequence[Answers]]
    is_baseline: bool = False
    omitted: Mapping[str, int] = field(default_factory=dict)  # decoding setting that a baseline refuses -> its items
    engines: frozenset[str] = frozenset()  # the programs that generated a student's answers
    protocol: Protocol = field(default_factory=Protocol)  # under which it was asked
    is_trained: bool = True  # if not, the row is a model as it is, and no training luck is in it
    judging: Judging | None = None  # the figures of its reviews, if a judge scores it
    repeated: int = 0  # further replicates, left out since their answers are those of an earlier one

    @property
    def runs(self) -> list[Answers]:
        return [run for runs in self.draws for run in runs]

    @property
    def is_redrawn(self) -> bool:
        return len(self.draws) > 1


def drop_repeated(row: Row) -> Row:
    """Return a row without the replicates that gave the same answer to every item as an earlier one.

    Of several draws of the data, one always stays besides the first, since a single one would stand for its runs.
    """
    replicates = row.draws if row.is_redrawn else [[run] for run in row.draws[0]]
    kept: dict[tuple[object, ...], Sequence[Answers]] = {}
    for runs in replicates:
        answers = (answer for run in runs for answer in run.rows)
        kept.setdefault(tuple((answer.id, answer.response, answer.score) for answer in answers), runs)
    distinct = list(kept.values())
    if row.is_redrawn and len(distinct) == 1:
        distinct = list(row.draws[:2])
    draws = distinct if row.is_redrawn else [[run for (run,) in distinct]]
    return dataclasses.replace(row, draws=draws, repeated=len(replicates) - len(distinct))


def read_engines(folders: Iterable[Path]) -> frozenset[str]:
    """Return the programs that generated the answers of evaluations, from the folders of their artifacts."""
    summaries = []
    for path in (folder / "artifact.json" for folder in folders):
        summaries.append(EvalSummary.from_json(read_record(path).get("summary"), path))
    return frozenset(summary.engine or "transformers" for summary in summaries)


def read_score(row: Scored) -> float:
    """Return an answer's score; NaN if the request failed."""
    return math.nan if row.score is None else row.score


def tabulate(row: Row, keys: Sequence[Key], read: Callable[[Scored], float]) -> NDArray[np.float64]:
    """Return a number for each replicate and item: float (replicates, items), NaN for an item without an answer.

    read: the number of one answer. An item's number is the mean over its samples that are not NaN, and a draw's is the
    mean over those of its runs.
    """
    tables = []
    for runs in row.draws:
        keyed = [_key_items(run.rows) for run in runs]
        tables.append(np.array([[_read_item(of_run.get(key, ()), read) for key in keys] for of_run in keyed]))
    return np.array([mean_of_known(table) for table in tables]) if row.is_redrawn else tables[0]


def mean_of_known(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each column without its NaNs; NaN for a column of nothing else."""
    known = np.isfinite(table)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, table, 0.0).sum(axis=0) / np.maximum(count, 1), math.nan)


def _read_item(answers: Sequence[Scored], read: Callable[[Scored], float]) -> float:
    """Return the mean of the numbers of an item's answers that are not NaN."""
    known = [number for answer in answers if not math.isnan(number := read(answer))]
    return sum(known) / len(known) if known else math.nan


def key_answers(answers: Iterable[Scored]) -> dict[Key, Scored]:
    """Return the answers by item; of several samples the first."""
    return {key: of_item[0] for key, of_item in _key_items(answers).items()}


def _key_items(answers: Iterable[Scored]) -> dict[Key, list[Scored]]:
    """Return the samples of each item."""
    seen: Counter[str] = Counter()
    keyed = {}
    for of_item in by_item(answers):
        name = of_item[0].id
        keyed[name, seen[name]] = of_item
        seen[name] += 1
    return keyed


def average(row: Row) -> Answers:
    """Return one answer to each item of the first run, with the mean score over all runs; None if one of them failed.

    The text and the outcome are those of the first run.
    """
    first, *others = (dataclasses.replace(run, rows=list(map(merge, by_item(run.rows)))) for run in row.runs)
    if not others:
        return first
    keyed = [key_answers(run.rows) for run in others]
    averaged = []
    for key, answer in key_answers(first.rows).items():
        answers = [answer, *(of_run[key] for of_run in keyed if key in of_run)]
        scores = [each.score for each in answers if each.score is not None]
        if len(scores) < len(row.runs):
            averaged.append(dataclasses.replace(answer, score=None, others_score=[]))
            continue
        by_checker = zip(*(each.others_score for each in answers), strict=True)
        others_score = [sum(values) / len(values) for values in by_checker]
        averaged.append(dataclasses.replace(answer, score=sum(scores) / len(scores), others_score=others_score))
    return dataclasses.replace(first, rows=averaged)


def pool(row: Row) -> Answers:
    """Return the answers of all runs together, to count their outcomes."""
    return dataclasses.replace(row.runs[0], rows=[answer for run in row.runs for answer in run.rows])
