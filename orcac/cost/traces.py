"""The lengths of examples whose traces are changed before they are packed (`orcac.tokenize.transform`)."""

from __future__ import annotations

import math

from orcac.cost import lengths
from orcac.cost.figures import Range
from orcac.tokenize.recipe import Transform

__all__ = ["shorten"]


def shorten(tokens: Range, trace: float, transform: Transform, ratio: float) -> Range:
    """Return the mean tokens of an example after a transform.

    tokens: those before it. trace: the part of them that is the trace. ratio: tokens of the student for one of these
    """
    share = trace / tokens.mid
    left = 1 - (transform.delete_steps or 0.0)
    most = (transform.keep_tokens or math.inf) / ratio
    return tokens.propagate(lambda mean: mean * (1 - share) + lengths.cut(mean * share * left, most))
