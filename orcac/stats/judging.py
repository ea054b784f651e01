"""The statistics of answers that a judge compares with a reference's, in points or as wins.

A judgement gives both answers of a pair a number: 1 to 10 points, or 1, 0.5 and 0 for a win, a tie and a loss. The
unit of all intervals and tests is the question: over orders and runs, its judgements are averaged first.

    ratio            the candidate's total over the reference's, with a percentile bootstrap interval over questions
    wins             questions on which the candidate's mean is above the reference's; exact sign test against losses
    flips            pairs asked in both orders in which each order prefers another answer
    position bias    the mean advantage, in points, of the answer that is shown first, over pairs asked in both orders.
                     The quality of the answers cancels out, so a judgement in one order alone cannot measure it
    length bias      how often the longer answer wins, of the questions with a winner and answers of unequal length
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orcac.stats.intervals import Interval, mcnemar

__all__ = ["Judgement", "PairFigures", "compare_pairs"]

RESAMPLES = 10_000
_SEED = 0
_CHUNK = 2_000_000  # random numbers in memory at once
_EQUAL = 1e-9

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The numbers that a judge gave to both answers of a pair."""

    question: str
    candidate: float
    reference: float
    candidate_first: bool  # it was shown before the reference
    candidate_length: int  # characters
    reference_length: int
    run: int = 0  # the candidate's replicate


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """The comparison of a candidate with one reference."""

    questions: int
    candidate_total: float  # sum over questions of the mean points
    reference_total: float
    ratio: float | None  # of the totals; None if the reference has no points
    ratio_interval: Interval | None  # 95 %
    wins: int  # questions
    ties: int
    losses: int
    p: float  # exact two-sided sign test of wins against losses
    both_orders: int  # pairs that were asked in both orders
    flips: int
    position_bias: float | None  # points for the first slot; None if no pair was asked in both orders
    position_interval: Interval | None  # 95 %
    longer_wins: int
    longer_decided: int  # questions with a winner and answers of unequal length
    p_longer: float  # exact two-sided test of `longer_wins` against one half


def compare_pairs(judgements: Sequence[Judgement]) -> PairFigures:
    """Return the figures of judgements against one reference. They do not depend on the order of the judgements."""
    of_question: dict[str, list[Judgement]] = defaultdict(list)
    for one in sorted(judgements, key=lambda one: (one.question, one.run, one.candidate_first)):
        of_question[one.question].append(one)
    candidate = _means(of_question, lambda one: one.candidate)
    reference = _means(of_question, lambda one: one.reference)
    longer = _means(of_question, lambda one: one.candidate_length - one.reference_length)
    difference = candidate - reference
    winner = np.where(np.abs(difference) < _EQUAL, 0, np.sign(difference))
    wins, losses = int((winner > 0).sum()), int((winner < 0).sum())
    decided = (winner != 0) & (longer != 0)
    longer_wins = int((winner[decided] == np.sign(longer[decided])).sum())
    biases, pairs, flips = _find_position_biases(of_question)
    total = float(reference.sum())
    return PairFigures(
        questions=len(candidate),
        candidate_total=float(candidate.sum()),
        reference_total=total,
        ratio=float(candidate.sum()) / total if total else None,
        ratio_interval=_bootstrap_ratio(candidate, reference) if total else None,
        wins=wins,
        ties=len(candidate) - wins - losses,
        losses=losses,
        p=mcnemar(wins, losses),
        both_orders=pairs,
        flips=flips,
        position_bias=float(biases.mean()) if pairs else None,
        position_interval=_bootstrap_ratio(biases, np.ones_like(biases)) if pairs else None,
        longer_wins=longer_wins,
        longer_decided=int(decided.sum()),
        p_longer=mcnemar(longer_wins, int(decided.sum()) - longer_wins),
    )


def _means(of_question: dict[str, list[Judgement]], read: Callable[[Judgement], float]) -> Numbers:
    """Return the mean of a number over the judgements of each question."""
    return np.array([sum(map(read, some)) / len(some) for some in of_question.values()], np.float64)


def _find_position_biases(of_question: dict[str, list[Judgement]]) -> tuple[Numbers, int, int]:
    """Return the first slot's advantage by question, the number of pairs with both orders, and the flips among them."""
    biases: list[float] = []
    pairs = flips = 0
    for some in of_question.values():
        orders: dict[int, dict[bool, list[float]]] = defaultdict(lambda: defaultdict(list))
        for one in some:
            orders[one.run][one.candidate_first].append(one.candidate - one.reference)
        of_pairs = []
        for by_order in orders.values():
            if len(by_order) == 2:
                first, second = (sum(by_order[order]) / len(by_order[order]) for order in (True, False))
                of_pairs.append((first - second) / 2)
                flips += min(first, second) < -_EQUAL and max(first, second) > _EQUAL
        pairs += len(of_pairs)
        if of_pairs:
            biases.append(sum(of_pairs) / len(of_pairs))
    return np.array(biases, np.float64), pairs, flips


def _bootstrap_ratio(above: Numbers, below: Numbers) -> Interval:
    """Return the 95 % percentile interval of sum(above) / sum(below) over resampled questions."""
    random, count = np.random.default_rng(_SEED), len(above)
    step = max(1, _CHUNK // count)
    ratios = []
    for start in range(0, RESAMPLES, step):
        drawn = random.integers(count, size=(min(step, RESAMPLES - start), count))
        totals = below[drawn].sum(axis=1)
        ratios.append(above[drawn].sum(axis=1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(np.concatenate(ratios), (0.025, 0.975))
    return Interval(float(low), float(high))
