"""Tests of orcac/cost/lengths.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orcac.cost.lengths import fit, pack
from orcac.tokenize.pack import best_fit_decreasing, shuffle_and_fill


@pytest.mark.parametrize("mean", [60, 300, 604, 773, 1500])
def test_the_simulated_packer_agrees_with_the_real_one(mean: float) -> None:
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, np.round(rng.lognormal(math.log(mean) - 0.62**2 / 2, 0.62, 20_000))).astype(int)
    lengths = lengths[lengths <= 2048]
    shuffled, best = shuffle_and_fill(lengths, 2048, rng), best_fit_decreasing(lengths, 2048)
    assert pack(mean, 2048, "shuffle").per_row == pytest.approx(len(lengths) / len(shuffled), rel=0.03)
    assert pack(mean, 2048, "best-fit").per_row == pytest.approx(len(lengths) / len(best), rel=0.03)
    assert fit(mean, 2048) == pytest.approx(len(lengths) / 20_000, abs=0.01)
