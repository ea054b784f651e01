"""The rating of an answer, or the reason for which it has none.

    pass_rate   1 if the final answer agrees with the reference, 0 if it contradicts it. An answer that the limit on its
                length cut off has 0, as in a benchmark. One that cannot be read or compared has no rating, since a
                parser must not make a question hard
    length      tokens of reasoning and answer, as `filter.lengths` counts them, of an answer that was not cut off

The points of a judge are in `judged.py`.

An answer to a request that failed has no rating.
"""

from __future__ import annotations

from orcac.filter.agreement import compare
from orcac.filter.lengths import count_tokens
from orcac.rate.recipe import RateRecipe
from orcac.rows import Response

__all__ = ["rate"]

_COMPARED = {"agrees": 1.0, "contradicts": 0.0}


def rate(row: Response, recipe: RateRecipe) -> float | str:
    """Return the rating of an answer, or the reason for which it has none."""
    if row.error:
        return row.error
    is_cut = row.finish_reason == "length"
    if recipe.by == "length":
        return "cut" if is_cut else float(count_tokens(row).both)
    if is_cut and row.reference:
        return 0.0
    found = compare(row, recipe.checker)
    return _COMPARED.get(found, found)
