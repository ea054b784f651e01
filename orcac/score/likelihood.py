"""Scores by log-likelihoods, of an item's choices or of a given text. No answer is read, so no checker is involved.

    choice   1 if the likeliest choice is right, else 0 (TruthfulQA's mc1, AGIEval, BIG-Bench Hard)
    mass     the probability of the right choices, normalised over all choices (TruthfulQA's mc2; Lin et al. 2022)

    loss     the geometric mean of the probabilities of the text's bytes: 2 to the power of minus the bits per byte

The outcome is right if the likeliest choice is right, else wrong, under the first two. A question that the model's
positions do not hold was not compared: it is cut, and scores 0.

A given text is neither right nor wrong, but measured. Its score is in [0, 1] and higher for a smaller loss, so that
intervals, verdicts and tables read it like any other. It counts bytes, since students may have different tokens; the
loss per token stands beside it. The token that ends the answer is a part of the loss. A text that the positions do not
hold is cut and has no score: part of a text is another text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from orcac.rows import MEASURED, Answer, BenchmarkItem, Scored, widen

__all__ = ["score_choices", "score_loss"]


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


def score_loss(item: BenchmarkItem, answer: Answer) -> Scored:
    """Return the score of the text that an answer holds."""
    score = loss = None
    if answer.log_likelihoods:
        (total,) = answer.log_likelihoods
        score, loss = math.exp(total / len(answer.response.encode())), -total / answer.output_tokens
    return widen(
        item,
        Scored,
        system_id=answer.system_id,
        system=answer.system,
        response=answer.response,
        finish_reason=answer.finish_reason,
        parsed="",
        outcome="cut" if score is None else MEASURED,
        score=score,
        chance=0.0,
        loss=loss,
    )


def _mass(log_likelihoods: Sequence[float], right: Sequence[int]) -> float:
    """Return the share of the probability that the right choices have."""
    largest = max(log_likelihoods)
    weights = [math.exp(value - largest) for value in log_likelihoods]
    return sum(weights[index] for index in right) / sum(weights)
