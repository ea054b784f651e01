"""The ratings of a judge: the points that it gives each answer by itself, from 1 to 10.

The judge is shown the question and the answer without its reasoning, as in a judged benchmark of the form scale
(`score.judging`), and is asked through the ledger: equal texts are one request, whichever datasets, arms and tries they
are in. An answer that was cut off, or is empty, has the least points and is not shown, as a cut answer counts as wrong
in a pass rate. These answers have no rating, for the reason

    an error class           the teacher's request failed
    judge refused            the judge declined the review
    judge unread             the review states no number or one out of range, or it ends with a copy of its prompt
    review failed: CLASS     the judge's request failed

Reviews are streams: in memory are a number or a reason of each answer, and the keys of the requests.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orcac import rows
from orcac.chat.ask import Asker
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import Price
from orcac.collect.asking import chat_execution
from orcac.job import Job
from orcac.rate.recipe import RateExecution, RateRecipe
from orcac.rate.shown import list_requests, show
from orcac.score.judging.asking import check_loss
from orcac.score.judging.pairs import write_prompt
from orcac.score.judging.review import make_review, repeats_prompt
from orcac.score.recipe import LOWEST

__all__ = ["JudgedAnswers", "judge_answers"]


@dataclass(slots=True)
class JudgedAnswers:
    """The ratings of all answers in order, and the counts and the price of the reviews. A review counts once."""

    ratings: list[float | str] = field(default_factory=list)  # points, or the reason why an answer has no points
    reviews: int = 0  # answers that the judge was shown
    cut: int = 0  # answers that were cut off or are empty
    imitating: int = 0  # answers that imitate the marks of the prompt, or hold a verdict
    failed: Counter[str] = field(default_factory=Counter)  # error class -> reviews
    omitted: Counter[str] = field(default_factory=Counter)  # decoding setting that the judge refuses -> reviews
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def add_review(self, review: rows.Review, response: ChatResponse) -> None:
        """Count a review, and keep its points."""
        self.reviews += 1
        self.imitating += review.imitates
        self.omitted.update(response.omitted)
        if response.error:
            self.failed[response.error] += 1
        self.ratings.append(_read_points(review, response))

    def add_price(self, request: ChatRequest, response: ChatResponse, price: Price) -> None:
        """Count the tokens and the price of a request that no earlier review has."""
        self.input_tokens += response.input_tokens
        self.output_tokens += response.output_tokens
        self.usd += request.usd_of(response, price)


def judge_answers(job: Job[RateRecipe, RateExecution], responses: Path) -> JudgedAnswers:
    """Return the judge's ratings of the answers in `responses`, and write `reviews.parquet` (rows.Review).

    Raises what `chat.ask.Asker.ask` raises, with all reviews until then in the ledger. Raises EndpointError if no
    review was given, or if half of them failed for reasons that a rerun may mend.
    """
    judge, settings = job.recipe.judge, job.execution.judge
    assert judge is not None and settings is not None
    found = JudgedAnswers()
    questions = list_requests(judge, responses)

    def reviews(given: Iterator[ChatResponse]) -> Iterator[rows.Review]:
        for row in rows.read(responses, rows.Response):
            shown = show(row)
            if shown is None:
                found.cut += not row.error
                found.ratings.append(row.error or LOWEST)
                continue
            system, user = write_prompt(judge, shown)
            request, response = questions.request(system=system, user=user), next(given)
            review = make_review(judge, shown, response, request.key)
            if review.outcome == "judged" and repeats_prompt(user, review.review):
                review = dataclasses.replace(review, outcome="judge unread", candidate_points=None)
            if questions.first[found.reviews]:
                found.add_price(request, response, settings.price)
            found.add_review(review, response)
            yield review

    with Asker(questions, chat_execution(job, settings, judge.asked)) as asker:
        messages = asker.ask().messages
        rows.write(job.out / "reviews.parquet", rows.Review, reviews(asker.responses()))
    check_loss(job.label, found.failed, found.reviews, messages, settings)
    return found


def _read_points(review: rows.Review, response: ChatResponse) -> float | str:
    if review.candidate_points is not None:
        return review.candidate_points
    return f"review failed: {response.error}" if review.outcome == "failed" else review.outcome
