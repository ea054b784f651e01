"""What `eval` makes: `answers.parquet` (rows.Answer) and `scores.json`, for one student and one benchmark.

Inputs: `model` (a train or student node), `items` (one sample node).
"""

from __future__ import annotations

from typing import Literal

from orcac.recipe import Execution, Recipe

__all__ = ["VERSION", "EvalExecution", "EvalRecipe"]

VERSION = 1


class EvalRecipe(Recipe):
    system_id: int = 1  # the paper evaluates under the empty message
    system: str = ""
    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    parser: Literal["first-capital", "final-answer"] = "final-answer"  # first-capital is the paper's (§4.2.2)


class EvalExecution(Execution):
    batch_size: int = 64
