"""Rate the answers of a dataset, before any filter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from orcac.rate.judged import JudgedAnswers

__all__ = ["run"]

_ROWS_AT_ONCE = 1_000
_QUARTILES = (0, 25, 50, 75, 100)
_FIXES = {
    "pass_rate": "rate answers to questions whose reference is known, or name another `checker` in the filters",
    "length": "find out why the teacher's answers are of no use",
    "judge": "read the reviews in {reviews}, then name another judge, or give it another `prompt`",
}


def run(job: Job[RateRecipe, RateExecution]) -> RateSummary:
    """Write `ratings.parquet`, and `reviews.parquet` of a judge. Raises InputError if no answer has a rating.

    Raises what `judged.judge_answers` raises as well.
    """
    hide_pandas()
    responses = job.input("responses") / "responses.parquet"
    judged = _judge(job, responses) if job.recipe.judge else None
    given = iter(judged.ratings) if judged else None
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
                value = rate(row, job.recipe) if given is None else next(given)
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
            fix=_FIXES[job.recipe.by].format(reviews=job.out / "reviews.parquet"),
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
        **(_describe_reviews(judged) if judged else {}),
    )


def _judge(job: Job[RateRecipe, RateExecution], responses: Path) -> JudgedAnswers:
    """Return the judge's ratings, and print the counts that a reader of them should know."""
    from orcac.rate.judged import judge_answers  # brings the client of models

    judged = judge_answers(job, responses)
    if judged.cut:
        print_line(f"{job.label}  {judged.cut:,} answers are cut or empty: they have 1 point, and are not judged")
    if judged.imitating:
        print_line(f"{job.label}  {judged.imitating:,} answers imitate the marks of the judge's prompt, or a verdict")
    return judged


def _describe_reviews(judged: JudgedAnswers) -> dict[str, Any]:
    """Return the fields of the summary that only a judge has."""
    names = ("reviews", "cut", "imitating", "input_tokens", "output_tokens")
    omitted = dict(sorted(judged.omitted.items())) or None
    return {name: getattr(judged, name) for name in names} | {"omitted": omitted, "usd": round(judged.usd, 6)}
