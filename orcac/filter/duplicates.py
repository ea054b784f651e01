"""Exact duplicates: rows whose text an earlier row has, white space normalised.

Of a row, three texts can be compared: the whole example (system message, question, reasoning and answer), the question,
and the answer with its reasoning. Rows of one prompt have one question by their nature, so a question repeats another
prompt's only.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

from orcac.filter.recipe import FilterRecipe
from orcac.rows import Response

__all__ = ["PARTS", "Part", "Seen", "list_parts", "name_duplicate", "texts_of"]

Part = Literal["example", "question", "answer"]
PARTS: tuple[Part, ...] = get_args(Part)


def list_parts(recipe: FilterRecipe) -> list[Part]:
    """Return the texts that a recipe compares, in the order in which it does."""
    compared = (recipe.drop_duplicates, recipe.drop_duplicate_questions, recipe.drop_duplicate_answers)
    return [part for part, is_compared in zip(PARTS, compared, strict=True) if is_compared]


def name_duplicate(part: Part, *, is_near: bool = False) -> str:
    """Return the reason to reject a row that repeats this text of an earlier one."""
    return f"{'near ' if is_near else ''}duplicate{'' if part == 'example' else f' {part}'}"


def texts_of(row: Response, part: Part) -> tuple[str, ...]:
    """Return the texts of a row that belong to a part."""
    answer = (row.response, *([row.reasoning] if row.reasoning else []))
    return {"example": (row.system, row.query, *answer), "question": (row.query,), "answer": answer}[part]


class Seen:
    """The texts of the rows so far, as digests of 16 bytes."""

    def __init__(self, recipe: FilterRecipe) -> None:
        self._seen: dict[Part, dict[bytes, str]] = {part: {} for part in list_parts(recipe)}  # digest -> prompt

    def find_duplicate(self, row: Response) -> str:
        """Return the reason to reject a row, or add its texts and return ""."""
        digests = {part: _digest(texts_of(row, part)) for part in self._seen}
        for part, digest in digests.items():
            first = self._seen[part].get(digest)
            if first is not None and (part != "question" or first != row.id):
                return name_duplicate(part)
        for part, digest in digests.items():
            self._seen[part].setdefault(digest, row.id if part == "question" else "")
        return ""


def _digest(texts: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\x1f".join(map(_normalize, texts)).encode()).digest()[:16]


def _normalize(text: str) -> str:
    """Return a text with one blank for all white space in a row, and none at its ends."""
    # no white space but the blank is printable; most texts of one line are as they should be
    is_normal = text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " "
    return text if is_normal else " ".join(text.split())
