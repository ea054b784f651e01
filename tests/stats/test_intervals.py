import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from orcac.stats.intervals import binomial_p_value, mcnemar, wilson


def test_wilson_known_values() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(2.5, 5) == pytest.approx(wilson(25, 50, confidence=2 * norm.cdf(norm.isf(0.025) * 10**0.5) - 1))


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


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0, 1))
def test_the_tests_of_counts_are_those_of_scipy(one: int, other: int, chance: float) -> None:
    if n := one + other:
        assert binomial_p_value(one, n, chance) == binomtest(one, n, chance, alternative="greater").pvalue
        assert mcnemar(one, other) == pytest.approx(binomtest(one, n).pvalue)


def test_beats_chance() -> None:
    assert binomial_p_value(4, 4, 0.5) == pytest.approx(1 / 16)
    assert binomial_p_value(500, 1000, 0.5) > 0.5
    assert binomial_p_value(527, 1000, 0.5) < 0.05 < binomial_p_value(526, 1000, 0.5)
    assert (binomial_p_value(0, 9, 0.0), binomial_p_value(1, 9, 0.0), binomial_p_value(0, 0, 0.5)) == (1.0, 0.0, 1.0)
