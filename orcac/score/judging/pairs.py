"""The texts that a judge sees: an answer alone, or a pair of answers in both orders.

A recording saw each pair in the one order that the recipe names. A pair is left out if its reference has no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orcac import rows
from orcac.score.recipe import Judge, JudgePrompt
from orcac.score.verdict import Reply
from orcac.slots import fill_slots

__all__ = ["ALONE", "Shown", "find_prompt", "list_shown", "write_prompt"]

ALONE = -1  # `Shown.against` of a candidate that is judged by itself


class Shown(NamedTuple):
    """The texts of one review. If answers are judged alone, one of the two texts is shown."""

    item: int  # its number among the answered items
    row: rows.Prompt
    against: int  # number of the reference, or ALONE
    model: str  # of the reference; "" if the answer is judged alone
    candidate: str | None
    reference: str | None
    candidate_first: bool

    @property
    def answers(self) -> list[str]:
        """The answers in the order in which they are shown."""
        answers = [self.candidate, self.reference] if self.candidate_first else [self.reference, self.candidate]
        return [answer for answer in answers if answer is not None]

    def sort_points(self, numbers: Sequence[float]) -> tuple[float | None, float | None]:
        """Return the points of the candidate and of the reference; None for an answer that is not shown."""
        points = iter(numbers if self.candidate_first else reversed(numbers))
        return (
            None if self.candidate is None else next(points, None),
            None if self.reference is None else next(points, None),
        )


def list_shown(
    judge: Judge, answered: Sequence[tuple[rows.Prompt, Reply]], references: Sequence[Sequence[rows.Response]]
) -> Iterator[Shown]:
    """Yield the texts of all reviews, item by item. `references` has the answers of each reference to the items."""
    for number, (row, reply) in enumerate(answered):
        if not _is_answered(reply.error):
            continue
        others = [(against, answers[number]) for against, answers in enumerate(references)]
        others = [(against, answer) for against, answer in others if _is_answered(answer.error)]
        assert all(answer.id == row.id for _, answer in others)
        if judge.form == "scale":
            yield Shown(number, row, ALONE, "", reply.text, None, True)
        for against, answer in others:
            if judge.form == "scale":
                yield Shown(number, row, against, answer.teacher, None, answer.response, False)
                continue
            for candidate_first in _list_orders(judge):
                yield Shown(number, row, against, answer.teacher, reply.text, answer.response, candidate_first)


def _is_answered(error: str) -> bool:
    """Return whether a model gave an answer. A filtered or cut one is judged as the empty text that it is."""
    return error in ("", "content_filter", "context_overflow")


def _list_orders(judge: Judge) -> tuple[bool, ...]:
    return (False, True) if judge.recorded is None else (judge.recorded == "candidate-first",)


def find_prompt(judge: Judge, shown: Shown) -> JudgePrompt:
    """Return the prompt for the task of an item."""
    return judge.prompts.get(shown.row.task) or judge.prompts[""]


def write_prompt(judge: Judge, shown: Shown) -> tuple[str, str]:
    """Return the system message and the user message of a review. A recording is asked by the question alone."""
    if judge.recorded:
        return "", shown.row.query
    prompt = find_prompt(judge, shown)
    names = ["answer"] if judge.form == "scale" else ["answer_1", "answer_2"]
    texts = {"question": shown.row.query, **dict(zip(names, shown.answers, strict=True))}
    return prompt.system, fill_slots(prompt.text, texts)
