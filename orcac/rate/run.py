"""Rate the answers of a dataset, before any filter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from orcac import rows
from orcac.errors import InputError
from orcac.job import Job, hide_pandas
from orcac.progress import print_line
from orcac.rate.rating import rate
from orcac.rate.recipe import RateExecution, RateRecipe, RateSummary
from orcac.ratings import FILE, Digests, Rating, Values, digest_questions, read_digests, write_ratings
from orcac.sample.recipe import OWN
from orcac.text import by_reason

__all__ = ["run"]

_ROWS_AT_ONCE = 1_000
_QUARTILES = (0, 25, 50, 75, 100)


def run(job: Job[RateRecipe, RateExecution]) -> RateSummary:
    """Write `ratings.parquet`. Raises InputError if no answer has a rating."""
    hide_pandas()
    responses = job.input("responses") / "responses.parquet"
    unrated = Counter[str]()
    questions: list[Digests] = []
    found: list[float] = []  # NaN for an answer without a rating
    progress = job.progress(pq.read_metadata(responses).num_rows, "answers")

    def ratings() -> Iterator[Rating]:
        for some in rows.batched(rows.read(responses, rows.Response), _ROWS_AT_ONCE):
            digests = digest_questions(
                [row.source for row in some],
                [row.query for row in some],
                [row.system if row.system_id == OWN else None for row in some],
            )
            questions.append(read_digests(digests))
            for question, row in zip(questions[-1].tolist(), some, strict=True):
                value = rate(row, job.recipe)
                if isinstance(value, str):
                    unrated[value] += 1
                found.append(math.nan if isinstance(value, str) else value)
                yield Rating(question, row.id, row.sample, None if isinstance(value, str) else value)
            progress.update(len(found))

    write_ratings(job.out / FILE, ratings())
    all_questions, all_ratings = np.concatenate(questions), np.array(found)
    is_rated = ~np.isnan(all_ratings)
    values = Values(all_questions[is_rated], all_ratings[is_rated]).means
    count = len(np.unique(all_questions))
    if not len(values):
        raise InputError(
            f"{job.label}: none of {len(found):,} answers has a rating: {by_reason(unrated)}",
            fix="rate answers to questions whose reference is known, or name another `checker` in the filters"
            if job.recipe.by == "pass_rate"
            else "find out why the teacher's answers are of no use",
        )
    least, *middle, largest = (round(float(value), 6) for value in np.percentile(values, _QUARTILES))
    of_answers = f" (answers without a rating: {by_reason(unrated)})" if unrated else ""
    print_line(
        f"{job.label}  {len(values):,} of {count:,} questions have a value{of_answers}; quartiles: "
        f"{', '.join(f'{value:g}' for value in (least, *middle, largest))}"
    )
    return RateSummary(
        answers=len(found),
        rated=int(is_rated.sum()),
        unrated=dict(sorted(unrated.items())),
        questions=count,
        valued=len(values),
        quartiles=(least, middle[0], middle[1], middle[2], largest),
    )
