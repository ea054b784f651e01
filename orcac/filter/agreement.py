"""Agreement of a response with the known reference of its prompt, as a checker reads both."""

from __future__ import annotations

from typing import Literal

from orcac.checkers import CHECKERS, Item, contradicts, judge
from orcac.filter.recipe import FilterRecipe
from orcac.rows import Response

Agreement = Literal["agrees", "contradicts", "unread", "no reference"]

__all__ = ["compare", "find_disagreement", "item_of"]


def compare(row: Response, checker: str) -> Agreement:
    """Return how a response relates to its reference.

    `unread`: no final answer can be read, or the reference is a passage, which an answer in other words does not
    contradict.
    """
    item = item_of(row)
    if not item.reference:
        return "no reference"
    extraction, score = judge(row.response, item, CHECKERS[checker])
    if extraction.outcome != "read":
        return "unread"
    if score > 0:
        return "agrees"
    return "contradicts" if contradicts(row.response, item, CHECKERS[checker]) else "unread"


def find_disagreement(row: Response, recipe: FilterRecipe) -> str:
    """Return the reason to reject a row by the recipe's rules of agreement, or ""."""
    if not (recipe.agree_with_reference or recipe.contradict_reference):
        return ""
    found = compare(row, recipe.checker)
    if found == "contradicts":
        return "contradicts reference" if recipe.agree_with_reference else ""
    if found == "agrees":
        return "agrees with reference" if recipe.contradict_reference else ""
    return found if recipe.drop_unread else ""


def item_of(row: Response) -> Item:
    """Return the parts of a row that checkers read."""
    return Item(tuple(row.options), row.reference, row.query)
