"""Split a teacher's responses into those to train on and those rejected, each with its reason.

The responses are read once to judge them and once more for each table that is written. Between the passes only the
reasons are in memory, and the sketches of near duplicates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orcac import rows
from orcac.collect.contamination import Benchmarks, read_benchmarks
from orcac.errors import InputError
from orcac.filter.near import NearDuplicates
from orcac.filter.reasons import DUPLICATES, KEEP, Reasons
from orcac.filter.recipe import FilterExecution, FilterRecipe, FilterSummary
from orcac.job import Job, hide_pandas
from orcac.losses import Losses, print_counts
from orcac.ratings import read_points
from orcac.text import by_reason


def run(job: Job[FilterRecipe, FilterExecution]) -> FilterSummary:
    """Write `kept.parquet`, `rejected.parquet` and `counts.json`.

    Raises InputError if contamination is to be checked and there is no benchmark, or if no response is kept, of all or
    of a task.
    """
    hide_pandas()
    responses = job.input("responses") / "responses.parquet"
    rated = job.inputs.get("rated", ())
    reasons = Reasons(job.recipe, _index_benchmarks(job), read_points(rated[0]) if rated else ())
    losses = Losses()
    verdicts = _find_reasons(job, responses, reasons, losses)
    counted = Counter(verdict for verdict in verdicts if verdict != KEEP)
    print_counts(job.label, len(verdicts) - counted.total(), counted)
    if counted.total() == len(verdicts):
        raise InputError(
            f"{job.label}: none of {len(verdicts):,} responses is kept{f': {by_reason(counted)}' if counted else ''}",
            fix="relax `filters`, or find out why the teacher's answers are of no use",
        )
    losses.check(
        job.label, job.execution.allow_empty, fix="relax `filters`, or list the tasks in `filters.allow_empty`"
    )
    thought = characters = 0

    def kept_tables() -> Iterator[pa.RecordBatch]:
        nonlocal thought, characters
        for table in _read_tables(responses, [verdict == KEEP for verdict in verdicts]):
            reasoning = _count_characters(table, "reasoning") if "reasoning" in table.schema.names else 0
            thought += reasoning
            characters += reasoning + _count_characters(table, "response")
            yield table

    def rejected_tables() -> Iterator[pa.RecordBatch]:
        reasons = (verdict for verdict in verdicts if verdict != KEEP)
        for table in _read_tables(responses, [verdict != KEEP for verdict in verdicts]):
            yield table.append_column("reason", pa.array([*islice(reasons, len(table))], pa.string()))

    kept = rows.write_tables(job.out / "kept.parquet", rows.Response, rows.regroup(kept_tables()))
    rejected = rows.write_tables(job.out / "rejected.parquet", rows.Rejected, rows.regroup(rejected_tables()))
    assert kept + rejected == len(verdicts)
    summary = FilterSummary(
        read=len(verdicts),
        kept=kept,
        rejected=dict(sorted(counted.items())),
        reasoning=round(thought / characters, 6) if thought else None,
    )
    counts = summary.as_json() | {"overlaps": dict(sorted(reasons.overlaps.items()))}
    (job.out / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")
    return summary


def _read_tables(responses: Path, mask: Sequence[bool]) -> Iterator[pa.RecordBatch]:
    """Yield the responses for which `mask` (responses,) is true."""
    at = 0
    for table in rows.read_as(responses, rows.Response):
        yield table.filter(pa.array(mask[at : at + len(table)], pa.bool_()))
        at += len(table)


def _count_characters(table: pa.RecordBatch, name: str) -> int:
    return int(pc.sum(pc.utf8_length(table.column(name))).as_py() or 0)


def _find_reasons(
    job: Job[FilterRecipe, FilterExecution], responses: Path, reasons: Reasons, losses: Losses
) -> list[str]:
    """Return the reason for each response, or KEEP, and count the losses of each task."""
    progress = job.progress(pq.read_metadata(responses).num_rows, "responses")
    verdicts: list[str] = []
    near = NearDuplicates(job.recipe)
    for row, verdict in reasons.judge_all(rows.read(responses, rows.Response)):
        if verdict == KEEP:
            near.add(len(verdicts), row)
        verdicts.append(verdict)
        losses.count("" if verdict in DUPLICATES else verdict, task=row.task)
        progress.update(len(verdicts))
    near.reject(verdicts)
    return verdicts


def _index_benchmarks(job: Job[FilterRecipe, FilterExecution]) -> Benchmarks:
    """Return the items of the benchmarks, none if the recipe does not check contamination."""
    ngram = job.recipe.contamination_ngram
    if ngram is None:
        return Benchmarks({}, 1)
    folders = job.inputs.get("benchmarks", ())
    if not folders:
        raise InputError(
            f"{job.label}: there is no benchmark to check contamination against",
            fix="name benchmarks in the spec, or leave the contamination filter out",
        )
    return read_benchmarks(folders, ngram)
