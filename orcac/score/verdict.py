"""The verdict of one checker on one answer: its outcome and its score.

    failed     the request failed, or its answer is not on record: no score, and the item leaves n
    cut        the limit on the answer's length cut it off, or the question fills the model's context: 0, whatever the
               part that is left says
    refused    a content filter or the model itself declined: 0
    unparsed   the checker finds no final answer: 0
    right      the final answer has the full score
    wrong      any other: its score, which a checker may set between 0 and 1

`failed` is never wrong, since the model did not answer. The other outcomes without a final answer are the model's own.
"""

from __future__ import annotations

from typing import NamedTuple

from orcac.checkers import CHECKERS, judge
from orcac.filter.refusals import is_refusal
from orcac.rows import Outcome, Prompt
from orcac.sample.references import list_asked

__all__ = ["Reply", "Verdict", "decide"]


class Reply(NamedTuple):
    """The parts of an answer that its verdict depends on."""

    text: str
    finish_reason: str
    error: str = ""  # the error class if the request failed for good
    refusal: str = ""  # the model's own words, where its server marks them as a refusal


class Verdict(NamedTuple):
    """`parsed` is the final answer, "" if there is none; `score` is None if the request failed."""

    parsed: str
    outcome: Outcome
    score: float | None


def decide(checker: str, reply: Reply, item: Prompt) -> Verdict:
    """Return the verdict of a checker on a reply to an item."""
    if reply.error == "context_overflow":  # as a student's empty answer to such a question
        return Verdict("", "cut", 0.0)
    if reply.error and reply.error != "content_filter":
        return Verdict("", "failed", None)
    parsed, score = check(checker, reply.text, item)
    if reply.finish_reason == "length":
        return Verdict(parsed, "cut", 0.0)
    if score == 1:
        return Verdict(parsed, "right", score)
    if reply.refusal or "content_filter" in (reply.error, reply.finish_reason) or is_refusal(reply.text):
        return Verdict(parsed, "refused", 0.0)
    return Verdict(parsed, "wrong", score) if parsed else Verdict("", "unparsed", 0.0)


def check(checker: str, response: str, item: Prompt) -> tuple[str, float]:
    """Return the final answer that a checker reads in a response, or "", and its score in [0, 1].

    If an item has several right answers, the score is the best over them.
    """
    judged = (judge(response, asked, CHECKERS[checker]) for asked in list_asked(item))
    found = [(extraction.value, score) for extraction, score in judged]
    return max(found, key=lambda one: (one[1], bool(one[0])))
