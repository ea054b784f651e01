"""Split a teacher's responses into those to train on and those rejected, each with its reason.

The responses are read once to judge them and once more for each table that is written. Between the passes only the
reasons are in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from orcac import rows
from orcac.errors import InputError
from orcac.filter.contamination import Index, build_index
from orcac.filter.reasons import KEEP, Reasons
from orcac.filter.recipe import FilterRecipe, FilterSummary
from orcac.job import Job
from orcac.recipe import Execution


def run(job: Job[FilterRecipe, Execution]) -> FilterSummary:
    """Write `kept.parquet`, `rejected.parquet` and `counts.json`.

    Raises InputError if contamination is to be checked and there is no benchmark.
    """
    responses = job.input("responses") / "responses.parquet"
    reasons = Reasons(job.recipe, _index_benchmarks(job))
    verdicts = _find_reasons(job, responses, reasons)
    thought = characters = 0

    def kept_rows() -> Iterator[rows.Response]:
        nonlocal thought, characters
        for row, verdict in zip(rows.read(responses, rows.Response), verdicts, strict=True):
            if verdict == KEEP:
                thought += len(row.reasoning)
                characters += len(row.reasoning) + len(row.response)
                yield row

    kept = rows.write(job.out / "kept.parquet", rows.Response, kept_rows())
    rejected = rows.write(
        job.out / "rejected.parquet",
        rows.Rejected,
        (
            rows.widen(row, rows.Rejected, reason=verdict)
            for row, verdict in zip(rows.read(responses, rows.Response), verdicts, strict=True)
            if verdict != KEEP
        ),
    )
    assert kept + rejected == len(verdicts)
    counted = Counter(verdict for verdict in verdicts if verdict != KEEP)
    summary = FilterSummary(
        read=len(verdicts),
        kept=kept,
        rejected=dict(sorted(counted.items())),
        reasoning=round(thought / characters, 6) if thought else None,
    )
    counts = summary.as_json() | {"overlaps": dict(sorted(reasons.overlaps.items()))}
    (job.out / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")
    return summary


def _find_reasons(job: Job[FilterRecipe, Execution], responses: Path, reasons: Reasons) -> list[str]:
    progress = job.progress(pq.read_metadata(responses).num_rows, "responses")
    verdicts: list[str] = []
    for row in rows.read(responses, rows.Response):
        verdicts.append(reasons.judge(row))
        progress.update(len(verdicts))
    return verdicts


def _index_benchmarks(job: Job[FilterRecipe, Execution]) -> dict[str, Index]:
    """Return each benchmark's index by its name, {} if the recipe does not check contamination."""
    ngram = job.recipe.contamination_ngram
    if ngram is None:
        return {}
    folders = job.inputs.get("benchmarks", ())
    if not folders:
        raise InputError(
            f"{job.label}: there is no benchmark to check contamination against",
            fix="name benchmarks in the spec, or leave the contamination filter out",
        )
    indexes: dict[str, Index] = {}
    for folder in folders:
        items = list(rows.read(folder / "prompts.parquet", rows.Prompt))
        name = items[0].source
        indexes[name] = indexes.get(name, frozenset()) | build_index((item.query for item in items), ngram)
    return indexes
