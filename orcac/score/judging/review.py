"""The review that a judge's response holds, with its points, whatever it is for: a benchmark's score, or a rating."""

from __future__ import annotations

from orcac import rows
from orcac.chat.messages import ChatResponse
from orcac.reasoning import split_reasoning
from orcac.score.judging.pairs import Shown, find_prompt
from orcac.score.judging.reading import read_review
from orcac.score.recipe import Judge
from orcac.slots import imitates_slots

__all__ = ["make_review", "repeats_prompt"]


def make_review(judge: Judge, shown: Shown, response: ChatResponse, key: str) -> rows.Review:
    """Return the review that a response holds, with the points that it states. `key`: of its request in the ledger."""
    text = split_reasoning(response.text)[1]
    outcome: rows.Outcome = "failed"
    candidate = reference = None
    if response.error == "content_filter":
        outcome = "judge refused"
    elif not response.error:
        reading = read_review(find_prompt(judge, shown).reads, text, response.refusal)
        outcome = "judge refused" if reading.fault == "refused" else "judge unread" if reading.fault else "judged"
        candidate, reference = shown.sort_points(reading.numbers)
    return rows.widen(
        shown.row,
        rows.Review,
        against=shown.against,
        against_model=shown.model,
        candidate_first=shown.candidate_first,
        review=text,
        finish_reason=response.finish_reason,
        outcome=outcome,
        candidate_points=candidate,
        reference_points=reference,
        candidate_length=len(shown.candidate or ""),
        reference_length=len(shown.reference or ""),
        key=key,
        imitates=shown.candidate is not None and imitates_slots(shown.candidate),
    )


def repeats_prompt(prompt: str, review: str) -> bool:
    """Return whether a review ends as its prompt does after the last slot, so that its number is an example."""
    end = " ".join(prompt.rpartition(">>>")[2].split())
    return bool(end) and " ".join(review.split()).endswith(end)
