"""The lengths of a response in tokens: of its answer, of its reasoning, and of both.

Tokens are the teacher's, as its server counted them, since no student's tokenizer exists yet: one from scratch is
trained on the rows that the filter keeps. The count is of the whole response, so it is shared out by characters. Where
nothing was counted (recorded answers, references), a token is taken to be 4 characters long.

Some servers count reasoning that they do not send. A token is a character at least in most writing, so a text is never
taken to have more tokens than bytes: a hidden trace then does not make a short answer a long one.
"""

from __future__ import annotations

from typing import NamedTuple

from orcac.reasoning import split_reasoning
from orcac.rows import Response

_CHARACTERS = 4  # of a token that was not counted


class Lengths(NamedTuple):
    """The lengths of the parts of a response, in tokens."""

    answer: int
    reasoning: int
    both: int


def count_tokens(row: Response) -> Lengths:
    """Return the lengths of a response."""
    reasoning, answer = (row.reasoning, row.response) if row.reasoning else split_reasoning(row.response)
    characters = len(reasoning) + len(answer)
    counted = min(row.output_tokens or -(-characters // _CHARACTERS), len((reasoning + answer).encode()))
    part = round(counted * len(reasoning) / max(characters, 1))
    return Lengths(counted - part, part, counted)
