"""The three averages that a verdict may be about; `compare.Layout` computes them.

`micro` is the mean over items, `macro` the mean over tasks, and both are about these tasks. `clustered` is the mean
over tasks, for a claim about tasks like these: the tasks are the units that are drawn.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["FEWEST_TASKS", "Average"]

Average = Literal["micro", "macro", "clustered"]
FEWEST_TASKS = 5  # that a clustered average needs; fewer show too little of how tasks differ
