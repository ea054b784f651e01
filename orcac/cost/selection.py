"""Estimates of the answers that rules of agreement and selection keep, before there are any answers.

The answers to one prompt are taken to be right or wrong independently of each other, and their lengths to be log-normal
with half of the variance that lengths have over all prompts (`lengths.SIGMA`).
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

from orcac.cost import priors
from orcac.cost.figures import Range
from orcac.cost.lengths import SIGMA
from orcac.filter.recipe import FilterRecipe, Selection

_DRAWN = 2000  # prompts of the simulation


class Kept(NamedTuple):
    share: Range  # of the answers, that the rules keep
    longer: float  # mean length of a kept answer, relative to that of all
    basis: tuple[str, ...]


def estimate_kept(recipe: FilterRecipe, samples: int) -> Kept:
    """Return the effect of a recipe's rules of agreement and selection on `samples` answers to each prompt."""
    share, basis = Range(1.0), []
    if recipe.agree_with_reference:
        share, basis = share * priors.AGREEING.range, [priors.AGREEING.basis]
    if recipe.contradict_reference:
        share, basis = share * priors.CONTRADICTING.range, [priors.CONTRADICTING.basis]
    if recipe.drop_unread:
        share, basis = share * priors.READ.range, [*basis, priors.READ.basis]
    select = recipe.select
    if select is None:
        return Kept(share, 1.0, tuple(basis))
    fit = {"verified": priors.AGREEING, "majority": priors.MAJORITY}.get(select.by)
    if fit and not (recipe.agree_with_reference and select.by == "verified"):
        share, basis = share * fit.range, [*basis, fit.basis]
    expect = _expect_majority if select.by == "majority" else _expect_kept
    kept = share.propagate(lambda chance: expect(min(chance, 1.0), samples, select.keep))
    why = f"answers kept of {samples}, at most {select.keep} by `{select.by}` {kept.mid * samples:.2f}: computed"
    return Kept(kept, _find_length(select, samples), (*basis, why))


def _expect_kept(chance: float, samples: int, keep: int) -> float:
    """Return the expected share of answers kept, if each is fit by `chance` and at most `keep` of a prompt stay."""
    return sum(min(n, keep) * weight for n, weight in _count_fit(chance, samples)) / samples


def _expect_majority(chance: float, samples: int, keep: int) -> float:
    """Return the same of the votes for the first of two final answers and for the second; a tie keeps none."""
    won = ((max(n, samples - n), weight) for n, weight in _count_fit(chance, samples) if 2 * n != samples)
    return sum(min(votes, keep) * weight for votes, weight in won) / samples


def _count_fit(chance: float, samples: int) -> Iterator[tuple[int, float]]:
    """Yield each number of fit answers to a prompt, with its probability."""
    for n in range(samples + 1):
        yield n, math.comb(samples, n) * chance**n * (1 - chance) ** (samples - n)


def _find_length(select: Selection, samples: int) -> float:
    """Return the mean length of a selected answer, relative to that of all."""
    if select.by not in ("shortest", "longest") or select.keep >= samples:
        return 1.0
    return _simulate_length(samples, select.keep, is_longest=select.by == "longest")


@functools.lru_cache(maxsize=256)
def _simulate_length(samples: int, keep: int, *, is_longest: bool) -> float:
    rng, sigma = random.Random(0), SIGMA / math.sqrt(2)
    return fmean(
        fmean(sorted((rng.lognormvariate(-(sigma**2) / 2, sigma) for _ in range(samples)), reverse=is_longest)[:keep])
        for _ in range(_DRAWN)
    )
