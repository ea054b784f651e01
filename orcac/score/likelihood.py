"""Scores of items whose choices were compared by their log-likelihoods. No text is read, so no checker is involved.

    choice   1 if the likeliest choice is right, else 0 (TruthfulQA's mc1, AGIEval, BIG-Bench Hard)
    mass     the probability of the right choices, normalised over all choices (TruthfulQA's mc2; Lin et al. 2022)

The outcome is right if the likeliest choice is right, else wrong, under both. A question that the model's positions do
not hold was not compared: it is cut, and scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from orcac.rows import Answer, BenchmarkItem, Scored, widen

__all__ = ["score_choices"]


def score_choices(rule: Literal["choice", "mass"], item: BenchmarkItem, answer: Answer) -> Scored:
    """Return the scored answer to an item."""
    right = {item.options[index] for index in item.right}
    is_right, score = answer.response in right, 0.0
    if answer.log_likelihoods:
        score = float(is_right) if rule == "choice" else _mass(answer.log_likelihoods, item.right)
    return widen(
        item,
        Scored,
        system_id=answer.system_id,
        system=answer.system,
        response=answer.response,
        finish_reason=answer.finish_reason,
        parsed=answer.response,
        outcome="right" if is_right else "wrong" if answer.log_likelihoods else "cut",
        score=score,
        chance=len(item.right) / len(item.choices),
    )


def _mass(log_likelihoods: Sequence[float], right: Sequence[int]) -> float:
    """Return the share of the probability that the right choices have."""
    largest = max(log_likelihoods)
    weights = [math.exp(value - largest) for value in log_likelihoods]
    return sum(weights[index] for index in right) / sum(weights)
