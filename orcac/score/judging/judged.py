"""The scores of answers that a judge reviews: `scores.parquet`, and `reviews.parquet` with each review.

An answer's score is the mean of its points over both orders and all references, from 0 for 1 point to 1 for 10 points;
of verdicts, 1 is a win, 0.5 a tie and 0 a loss. An item counts if each of its reviews could be read:

    judged          all of them were read
    judge unread    one states no number, or one out of range: the item leaves n
    judge refused   the judge declined one: the item leaves n
    failed          the answer, all of the references, or a review failed: the item leaves n
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from orcac import rows
from orcac.job import Job
from orcac.score.judging.asking import get_reviews
from orcac.score.judging.pairs import ALONE, list_shown
from orcac.score.judging.review import make_review
from orcac.score.recipe import HIGHEST, LOWEST, Form, ScoreExecution, ScoreRecipe, ScoreSummary
from orcac.score.scores import Answers, write
from orcac.score.verdict import Reply
from orcac.stats.judging import Judgement

__all__ = ["list_judgements", "score_judged"]

_WORST: tuple[rows.Outcome, ...] = ("failed", "judge refused", "judge unread", "judged")  # the first that occurs counts


def score_judged(job: Job[ScoreRecipe, ScoreExecution], answered: Sequence[tuple[rows.Prompt, Reply]]) -> ScoreSummary:
    """Ask the judge, and write the scores. Raises as `asking.get_reviews` does."""
    judge = job.recipe.judge
    assert judge is not None
    references = [[*rows.read(folder / "responses.parquet", rows.Response)] for folder in job.inputs.get("against", ())]
    shown = [*list_shown(judge, answered, references)]
    found = get_reviews(job, shown)
    of_each = zip(shown, found.responses, found.keys, strict=True)
    reviews = [make_review(judge, one, response, key) for one, response, key in of_each]
    rows.write(job.out / "reviews.parquet", rows.Review, reviews)
    of_item: dict[int, list[rows.Review]] = defaultdict(list)
    for one, review in zip(shown, reviews, strict=True):
        if judge.form != "scale" or one.against == ALONE:
            of_item[one.item].append(review)
    scored = [_score(judge.form, row, reply, of_item[number]) for number, (row, reply) in enumerate(answered)]
    scores = write(job.out, Answers(rows=scored, checkers=(f"judge {judge.asked.model}",)))
    return ScoreSummary(
        n=scores.n,
        mean=scores.mean,
        outcomes=scores.outcomes,
        left_out=0,
        chance=scores.chance,
        reviews=len(reviews),
        refused=sum(review.outcome == "judge refused" for review in reviews),
        unread=sum(review.outcome == "judge unread" for review in reviews),
        failed=dict(sorted(found.failed.items())),
        omitted=dict(sorted(found.omitted.items())) or None,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        usd=found.usd,
    )


def list_judgements(reviews: Iterable[rows.Review], run: int = 0) -> dict[int, list[Judgement]]:
    """Return the judgements against each reference, of the items whose reviews could all be read.

    If answers are judged alone, the points of the candidate and of the reference are from two reviews.
    """
    pairs: dict[tuple[str, int], list[rows.Review]] = defaultdict(list)
    alone: dict[str, rows.Review] = {}
    for review in reviews:
        if review.against == ALONE:
            alone[review.id] = review
        else:
            pairs[review.id, review.against].append(review)
    found: dict[int, list[Judgement]] = defaultdict(list)
    for (id, against), some in sorted(pairs.items(), key=lambda pair: pair[0][1]):
        if id in alone:
            some = [*some, alone[id]]
        if any(review.outcome != "judged" for review in some):
            found.setdefault(against, [])
            continue
        for review in pairs[id, against]:
            candidate = alone.get(id, review)
            assert candidate.candidate_points is not None and review.reference_points is not None
            found[against].append(
                Judgement(
                    question=id,
                    candidate=candidate.candidate_points,
                    reference=review.reference_points,
                    candidate_first=review.candidate_first,
                    candidate_length=candidate.candidate_length,
                    reference_length=review.reference_length,
                    run=run,
                )
            )
    return dict(found)


def _score(form: Form, row: rows.Prompt, reply: Reply, reviews: Sequence[rows.Review]) -> rows.Scored:
    outcomes = {review.outcome for review in reviews} or {"failed"}
    outcome = next(one for one in _WORST if one in outcomes)
    points = [review.candidate_points for review in reviews if review.candidate_points is not None]
    score = None
    if outcome == "judged":
        mean = sum(points) / len(points)
        score = mean if form == "verdict" else (mean - LOWEST) / (HIGHEST - LOWEST)
    return rows.widen(
        row,
        rows.Scored,
        response=reply.text,
        finish_reason=reply.finish_reason,
        parsed=_word_points(reviews) if outcome == "judged" else "",
        outcome=outcome,
        score=score,
    )


def _word_points(reviews: Sequence[rows.Review]) -> str:
    """Return the points in words, with the reference's mean over the orders: "7.5, gpt-4 9"."""
    of_model: Mapping[str, list[rows.Review]] = defaultdict(list)
    for review in reviews:
        of_model[review.against_model].append(review)
    own = [review.candidate_points or 0.0 for review in reviews]
    words = [f"{sum(own) / len(own):g}"]
    for model, some in of_model.items():
        if model:
            words.append(f"{model} {sum(review.reference_points or 0.0 for review in some) / len(some):g}")
    return ", ".join(words)
