"""Bounds on the lengths of examples, in tokens of the student: of the answer, of the reasoning, and of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from orcac.filter.recipe import Bounds
from orcac.model.chat_format import ChatFormat
from orcac.reasoning import split_reasoning
from orcac.rows import Response

__all__ = ["find_outside"]

Part = Literal["answer", "reasoning", "both"]


def find_outside(rows: Sequence[Response], bounds: Mapping[Part, Bounds], chat: ChatFormat) -> list[str]:
    """Return why the length of each example is outside the bounds, as "reasoning too long"; "" if it is within them."""
    if not bounds:
        return [""] * len(rows)
    texts = [(row.reasoning, row.response) if row.reasoning else split_reasoning(row.response) for row in rows]
    reasoning, answers = (chat.count(some) for some in zip(*texts, strict=True))
    return [
        _find_fault({"answer": answer, "reasoning": thought, "both": answer + thought}, bounds)
        for thought, answer in zip(reasoning, answers, strict=True)
    ]


def _find_fault(lengths: Mapping[Part, int], bounds: Mapping[Part, Bounds]) -> str:
    for part, limits in bounds.items():
        name = "answer and reasoning" if part == "both" else part
        if limits.min is not None and lengths[part] < limits.min:
            return f"{name} too short"
        if limits.max is not None and lengths[part] > limits.max:
            return f"{name} too long"
    return ""
