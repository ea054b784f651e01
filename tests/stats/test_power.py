from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from orcac.stats.parts import Parts, half_width
from orcac.stats.power import (
    Costs,
    Design,
    Variances,
    best,
    cheapest,
    detectable,
    estimate,
    luck_interval,
    power,
    power_of_equality,
    total_cost,
)

WIDE = Variances(luck=0.01, discordance=0.36, churn=0.27)


def design(runs: int, arms: int, items: int = 1000, base: int = 0) -> Design:
    return Design(items=items, arms=arms, base_runs=base or runs, arm_runs=runs)


@pytest.mark.parametrize(
    ("plan", "at_5_points", "smallest"),
    [(design(2, 2), 0.385, 8.97), (design(3, 4), 0.799, 5.01)],
)
def test_power_reference_values(plan: Design, at_5_points: float, smallest: float) -> None:
    assert power(0.05, plan, WIDE) == pytest.approx(at_5_points, abs=5e-4)
    assert 100 * detectable(plan, WIDE) == pytest.approx(smallest, abs=0.005)


@pytest.mark.parametrize(
    ("plan", "luck", "level", "smallest"),
    [
        (design(1, 4), 0.01, 0.05, 5.3),  # items only
        (design(2, 4, 6511), 0.03, 0.05, 12.5),
        (design(3, 4), 0.0, 0.05, 4.2),
        (design(5, 4, 250), 0.02, 0.05, 7.9),
        (design(1, 4, base=5), 0.01, 0.05, 6.8),
        (design(3, 4), 0.02, 0.05 / 9, 10.2),
    ],
)
def test_smallest_differences_of_the_published_table(plan: Design, luck: float, level: float, smallest: float) -> None:
    variances = Variances(luck=luck, discordance=0.36, churn=0.27)
    assert 100 * detectable(plan, variances, level) == pytest.approx(smallest, abs=0.05)


def test_power_grows_with_all_that_is_paid_for() -> None:
    plans = [design(2, 2), design(2, 4), design(3, 4), design(3, 4, base=5), design(3, 4, 6511, base=5)]
    found = [power(0.04, plan, WIDE) for plan in plans]
    assert found == sorted(found)
    assert power(0.04, plans[0], WIDE) == power(-0.04, plans[0], WIDE)
    assert power(0.0, design(3, 4), WIDE) < 0.05
    assert detectable(design(2, 2, 6), Variances(luck=0.5, discordance=0.4, churn=0.4)) == math.inf


def test_samples_lessen_the_variance_of_sampled_answers_alone() -> None:
    greedy = Design(items=250, arms=4, base_runs=3, arm_runs=3, samples=4)
    assert power(0.05, greedy, WIDE) == power(0.05, design(3, 4, 250), WIDE)
    sampled = Variances(luck=0.01, discordance=0.36, churn=0.27, sampling=0.1)
    assert power(0.05, greedy, sampled) > power(0.05, design(3, 4, 250), sampled)


def test_cheapest_and_best_agree() -> None:
    study = {"items": 1000, "arms": 4, "variances": WIDE, "costs": Costs(run=10.0, answer=0.01)}
    found = cheapest(0.05, **study)
    assert found is not None
    cost = total_cost(found, study["costs"])
    assert cost == (found.base_runs + 3 * found.arm_runs) * (10 + 0.01 * found.items)
    assert detectable(found, WIDE) <= 0.05
    assert cheapest(0.05, **study, budget=cost - 1) is None
    other = best(cost, **study)
    assert other is not None and total_cost(other, study["costs"]) <= cost and detectable(other, WIDE) <= 0.05
    assert best(10.0, **study) is None
    free_items = cheapest(0.05, **{**study, "costs": Costs(run=10.0, answer=0.0)})
    assert free_items is not None and free_items.items == 1000


def test_estimate_recovers_the_variances_of_a_simulated_study() -> None:
    rng = np.random.default_rng(1)
    items, runs = 4000, 40
    churning = rng.random(items) < 0.4  # right every other time, so churn is half of that
    base = np.where(churning, rng.random((runs, items)) < 0.5 + rng.normal(0, 0.02, (runs, 1)) / 0.4, True).astype(
        float
    )
    arm = np.where(churning, rng.random((runs, items)) < 0.5, rng.random(items) < 0.9).astype(float)
    found = estimate([[base, arm]])
    assert found is not None
    assert found.df == 78
    assert found.variances.churn == pytest.approx(0.2, abs=0.01)
    assert found.variances.discordance == pytest.approx(0.2 + 0.06, abs=0.015)
    assert found.variances.luck == pytest.approx(0.02 / math.sqrt(2), rel=0.2)  # pooled with an arm of none
    assert found.luck.low < found.variances.luck < found.luck.high
    assert estimate([[base[:1], arm[:1]]]) is None
    assert estimate([[np.zeros((3, 40)), np.zeros((3, 40))]]) is None  # students at the floor


def test_tasks_that_differ_are_worth_fewer_items() -> None:
    """Six tasks whose difference varies by 6 points show less than their items would, and 60 of them more."""
    rng = np.random.default_rng(2)
    tasks, size = 6, 200
    shifts = np.repeat(rng.normal(0, 0.06, tasks), size)
    base = (rng.random((3, tasks * size)) < 0.5).astype(float)
    arm = (rng.random((3, tasks * size)) < 0.5 + shifts).astype(float)
    labels = [str(number) for number in range(tasks) for _ in range(size)]
    found = estimate([[base, arm]], [labels], "clustered")
    assert found is not None
    assert found.variances.between_tasks == pytest.approx(float(shifts[::size].std(ddof=1)), abs=0.03)
    fixed = estimate([[base, arm]], [labels], "macro")
    assert fixed is not None and fixed.variances.between_tasks == 0.0
    differing = dataclasses.replace(WIDE, between_tasks=0.06)
    few, many = (dataclasses.replace(design(3, 4), tasks=count) for count in (6, 60))
    assert detectable(few, differing) > detectable(many, differing) > detectable(design(3, 4), WIDE)


def test_power_of_equality_by_simulation() -> None:
    """Two equal arms of 3 runs among 4 arms, with normal parts of the variances of WIDE."""
    rng, plan, studies = np.random.default_rng(3), design(3, 4), 4000
    noise, share = WIDE.churn / 2 / plan.items, 2 / 3
    shared, training = (WIDE.discordance - WIDE.churn) / plan.items, share * (WIDE.luck**2 + noise)
    found = 0
    for _ in range(studies):
        own, rest = (training * rng.chisquare(df) / df for df in (4, 4))
        parts = Parts(items=shared + share * noise, shared=shared, training=max(own, (own + rest) / 2), df=8)
        found += abs(rng.normal(0, math.sqrt(shared + training))) + half_width(parts, 0.1) < 0.05
    assert power_of_equality(0.05, plan, WIDE) == pytest.approx(found / studies, abs=0.03)
    assert power_of_equality(0.01, plan, WIDE) == 0.0 < power_of_equality(0.05, design(5, 4), WIDE)


def test_three_runs_know_a_spread_only_roughly() -> None:
    assert luck_interval(1.0, 0.0, 2) == pytest.approx((0.52, 6.29), abs=0.01)
    low, high = luck_interval(4e-4, 1e-4, 8)
    assert low**2 == pytest.approx(4e-4 * 8 / stats.chi2.isf(0.025, 8) - 1e-4)
    assert high**2 == pytest.approx(4e-4 * 8 / stats.chi2.ppf(0.025, 8) - 1e-4)
    assert luck_interval(1e-4, 4e-4, 2).low == 0.0


def test_importing_power_imports_no_numpy() -> None:
    code = "import sys, orcac.stats.power, orcac.stats.verdict, orcac.stats.wording; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
