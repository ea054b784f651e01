"""Tests of orcac/cost/pilot.py: the interval covers what it says, on recorded lengths and on those of samples."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from orcac.cost import pilot
from orcac.cost.pilot import ENOUGH, predict

PILOTS = 400


def covered(population: np.ndarray, count: int) -> float:
    """Return the share of pilots of `count` values whose interval holds the mean of the other values."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(PILOTS):
        order = rng.permutation(len(population))
        some, others = population[order[:count]], population[order[count:]]
        low, high = predict(some, count, len(others))
        hits += low <= others.mean() / some.mean() <= high
    return hits / PILOTS


@pytest.mark.skipif(not os.environ.get("ORCAC_DATA"), reason="ORCAC_DATA names no recordings")
@pytest.mark.parametrize("model", ["gpt4", "davinci_003"])
def test_the_interval_covers_the_answers_to_come_on_recorded_lengths(model: str) -> None:
    path = Path(os.environ["ORCAC_DATA"]) / f"teacher_flask/model_output/outputs/{model}.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    lengths = np.array([float(len(json.loads(line)["text"].split())) for line in lines if line])
    assert 0.87 < covered(lengths, 50) < 0.96  # 3 standard errors of 400 pilots are 0.045
    factor = 1 + 1 / math.sqrt(50)
    means = [np.random.default_rng(seed).choice(lengths, 50).mean() / lengths.mean() for seed in range(PILOTS)]
    assert np.mean([1 / factor < mean < factor for mean in means]) < 0.75, "a factor of 1 + 1/√n does not"


@pytest.mark.parametrize(("count", "least"), [(ENOUGH, 0.8), (50, 0.86), (pilot._MOST + 100, 0.86)])
def test_the_interval_covers_values_with_a_long_tail(count: int, least: float) -> None:
    population = np.random.default_rng(1).lognormal(4, 1, 4000)
    assert least < covered(population, count) < 0.98


def test_the_ends_are_on_no_side_closer_than_students_t() -> None:
    lengths = np.random.default_rng(2).lognormal(4, 1, 50)
    error = stats.t.ppf(0.95, 49) * stats.sem(lengths) / lengths.mean()
    low, high = predict(lengths, 50)
    assert low <= 1 - error + 1e-3 and high > 1 + error * 1.05  # it is the high end that a tail moves
    near, far = predict(lengths, 50, remaining=10)
    assert near < low and far > high, "the mean of ten answers is less certain than that of many"


@pytest.mark.parametrize("freedom", [9, 49, 600])
def test_quantiles_of_students_t_are_right(freedom: int) -> None:
    assert pilot._student(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), abs=0.002)


def test_few_or_equal_lengths_have_an_interval_as_well() -> None:
    assert predict(np.full(20, 7.0), 20) == (1.0, 1.0)
    assert predict(np.array([1.0, 50.0]), 2) == pytest.approx((1 / (1 + 4 / 2**0.5), 1 + 4 / 2**0.5))
    assert predict(None, 10_000) == pytest.approx((1 / 1.02, 1.02))
    low, high = predict(np.array([1.0] * 19 + [1e6]), 20)
    assert 0 < low < 1 < high < math.inf
