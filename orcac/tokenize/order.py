"""The order of the examples of a stage that does not shuffle them: from easy to hard, or from hard to easy.

The examples are packed in this order: a row is filled until the next example does not fit, whatever the packing of the
student. So the rows are in the order of their examples, and the stage is trained on them row by row, in each epoch.
"""

from __future__ import annotations

import numpy as np

from orcac.tokenize.recipe import Order

__all__ = ["sort_examples"]


def sort_examples(order: Order, indices: np.ndarray, *, learnt: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Return the indices (n,) in the order; examples of equal difficulty stay as they are.

    learnt: int64 (examples,), the learnt tokens of each example. values: float64 (examples,), the value of its question
    (a pass rate, or a judge's points), for an order by it; examples with NaN come last
    """
    if order.by == "length":
        difficulty = learnt[indices].astype(np.float64)
    else:
        assert values is not None
        difficulty = -values[indices]
    return indices[np.argsort(-difficulty if order.descending else difficulty, kind="stable")]
