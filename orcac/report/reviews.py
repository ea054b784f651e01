"""Reading the reviews of a judged benchmark: the figures of one row, over all its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from orcac import rows
from orcac.report.results import Against, Judging
from orcac.score.judging.judged import list_judgements
from orcac.score.recipe import ScoreSummary
from orcac.stats.judging import Judgement, compare_pairs
from orcac.store.store import read_record

__all__ = ["read_judging"]


def read_judging(folders: Sequence[Path]) -> Judging | None:
    """Return the figures of a row's score nodes, one for each run; None if no judge scored it."""
    if not (folders[0] / "reviews.parquet").exists():
        return None
    paths = [folder / "artifact.json" for folder in folders]
    records = [read_record(path) for path in paths]
    judge = records[0]["recipe"]["judge"]
    spent = [ScoreSummary.from_json(record.get("summary"), path) for record, path in zip(records, paths, strict=True)]
    outcomes, imitating, cut = Counter[str](), set[tuple[int, str]](), set[tuple[int, str]]()
    judgements: dict[int, list[Judgement]] = {}
    names: dict[int, str] = {}
    for run, folder in enumerate(folders):
        reviews = list(rows.read(folder / "reviews.parquet", rows.Review))
        outcomes.update(review.outcome for review in reviews)
        names |= {review.against: review.against_model for review in reviews if review.against_model}
        imitating |= {(run, review.id) for review in reviews if review.imitates}
        answers = rows.read(folder / "scores.parquet", rows.Scored)
        cut |= {(run, answer.id) for answer in answers if answer.finish_reason == "length"}
        for against, some in list_judgements(reviews, run).items():
            judgements.setdefault(against, []).extend(some)
    return Judging(
        judge=judge["asked"]["model"],
        form=judge["form"],
        recorded=judge.get("recorded"),
        reviews=outcomes.total(),
        refused=outcomes["judge refused"],
        unread=outcomes["judge unread"],
        failed=outcomes["failed"],
        imitating=len(imitating),
        cut=len(cut),
        against=tuple(
            Against(model=names[against], figures=compare_pairs(some)) for against, some in sorted(judgements.items())
        ),
        input_tokens=sum(summary.input_tokens or 0 for summary in spent),
        output_tokens=sum(summary.output_tokens or 0 for summary in spent),
        usd=round(sum(summary.usd or 0.0 for summary in spent), 6),
    )
