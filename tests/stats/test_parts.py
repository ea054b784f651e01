from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.stats.parts import Parts, half_width, p_value, quantile


def parts(df: int, **changes: float) -> Parts:
    return Parts(**{"items": 1e-4, "shared": 5e-5, "training": 1e-4, "df": df, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("df", "level", "half"),
    [
        (2, 0.05, 0.04520348),
        (2, 0.005, 0.1422818),
        (4, 0.05, 0.03103124),
        (4, 0.005, 0.05939065),
        (8, 0.05, 0.02690425),
        (8, 0.005, 0.04316007),
    ],
)
def test_half_width_reference_values(df: int, level: float, half: float) -> None:
    assert half_width(parts(df), level) == pytest.approx(half, rel=5e-7)


@pytest.mark.parametrize(
    ("df", "difference", "p"), [(2, 0.02, 0.2141965), (4, 0.03, 0.05541326), (8, 0.05, 0.002008274)]
)
def test_p_value_reference_values(df: int, difference: float, p: float) -> None:
    assert p_value(difference, parts(df)) == pytest.approx(p, rel=5e-7)
    assert p_value(-difference, parts(df)) == p_value(difference, parts(df))


def test_the_width_is_never_below_that_of_items_alone() -> None:
    lucky = parts(4, training=0.0, shared=0.0)  # replicates that agree by chance
    assert half_width(lucky) == half_width(parts(0)) == pytest.approx(1.959964 * math.sqrt(1e-4))


def test_tasks_as_units_have_the_quantile_of_their_number() -> None:
    assert half_width(parts(0, item_df=4)) == pytest.approx(2.776445 * math.sqrt(1e-4))
    assert quantile(0.05, math.inf) == pytest.approx(1.959964)


variances = st.floats(1e-8, 1e-2)


@given(
    st.floats(-1, 1),
    variances,
    st.floats(0, 1),
    st.just(0.0) | variances,
    st.integers(0, 40),
    st.sampled_from([math.inf, 4.0, 26.0]),
    st.sampled_from([0.05, 0.005, 0.5]),
)
def test_p_is_below_a_level_exactly_if_0_is_outside_the_interval(
    difference: float, items: float, share: float, training: float, df: int, item_df: float, level: float
) -> None:
    case = Parts(items=items, shared=share * items, training=training, df=df, item_df=item_df)
    half, p = half_width(case, level), p_value(difference, case)
    if not math.isclose(half, abs(difference), rel_tol=1e-9):
        assert (p < level) == (half < abs(difference))
    if 1e-99 < p < 0.999:
        assert half_width(case, p) == pytest.approx(abs(difference), rel=1e-9)


def test_p_value_of_extremes() -> None:
    assert p_value(0.0, parts(4)) == 1.0
    assert p_value(1.0, Parts(items=1e-12, shared=0.0, training=0.0, df=4)) == pytest.approx(1e-100)
