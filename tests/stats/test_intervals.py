import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.stats.intervals import binomial_p_value, mcnemar, paired_difference, wilson


def test_wilson_known_values() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert wilson(n - correct, n) == pytest.approx((1 - high, 1 - low))


def test_mcnemar_is_the_exact_binomial() -> None:
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(350, 325) == pytest.approx(0.356, abs=0.001)  # Orca and ChatGPT on AGIEval: no difference
    assert mcnemar(3, 12) == mcnemar(12, 3)


def test_beats_chance() -> None:
    assert binomial_p_value(4, 4, 0.5) == pytest.approx(1 / 16)
    assert binomial_p_value(500, 1000, 0.5) > 0.5
    assert binomial_p_value(527, 1000, 0.5) < 0.05 < binomial_p_value(526, 1000, 0.5)
    assert (binomial_p_value(0, 9, 0.0), binomial_p_value(1, 9, 0.0), binomial_p_value(0, 0, 0.5)) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(("n", "gain", "loss"), [(1000, 120, 80), (200, 5, 40)])
def test_paired_difference_has_the_textbook_spread(n: int, gain: int, loss: int) -> None:
    a, b = np.zeros(n, bool), np.zeros(n, bool)
    a[:gain], b[gain : gain + loss] = True, True
    mean = (gain - loss) / n
    se = np.sqrt(((gain + loss) / n - mean**2) / n)
    assert paired_difference(a, b, seed=1) == pytest.approx((mean - 1.96 * se, mean + 1.96 * se), abs=0.15 * se)


def test_paired_difference_is_seeded_and_antisymmetric() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.6, rng.random(300) < 0.5
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3)
    assert paired_difference(a, a, seed=3) == (0.0, 0.0)
    low, high = paired_difference(a, b, seed=3)
    assert paired_difference(b, a, seed=4) == pytest.approx((-high, -low), abs=0.02)
