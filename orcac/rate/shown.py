"""The requests of a judge's ratings: one for each answer of a dataset that the judge is shown."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from orcac import rows
from orcac.chat.questions import Questions
from orcac.reasoning import split_reasoning
from orcac.score.judging.pairs import ALONE, Shown, write_prompt
from orcac.score.recipe import Judge

__all__ = ["list_requests", "show"]


def show(row: rows.Response) -> Shown | None:
    """Return what the judge sees of an answer; None if it is not shown: the request failed, or it is cut or empty."""
    answer = split_reasoning(row.response)[1]
    if row.error or row.finish_reason == "length" or not answer.strip():
        return None
    return Shown(0, row, ALONE, "", answer, None, candidate_first=True)


def list_requests(judge: Judge, responses: Path, share: float = 1.0) -> Questions:
    """Return the requests for the answers in the file `responses`, in order.

    share: of the answers, to take at random
    """

    def texts() -> Iterator[tuple[str, str]]:
        chance = random.Random(0)
        drawn = (row for row in rows.read(responses, rows.Response) if share >= 1 or chance.random() < share)
        return (write_prompt(judge, shown) for shown in map(show, drawn) if shown)

    return Questions(judge.asked.template, texts, system_role=judge.asked.system_role)
