"""Tests of orcac/checkers/math/__init__.py and orcac/checkers/math/worker.py."""

import pytest

from orcac.checkers import CHECKERS, Item
from orcac.checkers.math import is_expression
from orcac.extras import is_installed

pytestmark = pytest.mark.skipif(not is_installed("math"), reason="math-verify is not installed")
math = CHECKERS["math"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("(x-1)(x+1)", "$x^2 - 1$"),
        (r"\frac{\sqrt{3}}{2}", "sqrt(3)/2"),
        ("2**10", "1024"),
        ("x ≤ 3", "3 >= x"),
        ("π/2", r"0.5\pi"),
        ("{1, 2}", "{2, 1}"),
        ("y = 2x + 1", "2x + 1 = y"),
    ],
)
def test_equal(first: str, second: str) -> None:
    assert math.same(first, second, Item()) and math.same(second, first, Item())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x^2", "x^3"),
        ("(1, 2)", "(2, 1)"),
        ("[0, 1)", "(0, 1]"),
        ("1, 2", "2, 1"),
        ("x < 3", "x > 3"),
        ("5 km", "5 m"),
        ("10 %", "10"),
        ("3:45", "3:30"),
        ("10 June", "10 July"),
        ("the cat", "the dog"),
    ],
)
def test_unequal(first: str, second: str) -> None:
    assert not math.same(first, second, Item()) and not math.same(second, first, Item())


def test_a_pair_that_is_too_hard_is_unequal_and_the_next_one_is_compared() -> None:
    assert not math.same("9^{9^{9^{9}}}", "9^{9^{9^{8}}}", Item())
    assert not math.same(r"\frac{1}{" * 60, "x + 1", Item())
    assert math.same("x + 1 + 1", "x + 2", Item())


@pytest.mark.parametrize("text", ["5 km", "1,200", "3:45", "apple, berry", "1, 2", "> ) }", "and/or", "", "x" * 1000])
def test_not_an_expression(text: str) -> None:
    assert not is_expression(text)


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (r"The answer is $\frac{x}{2}$, as shown.", "x/2"),
        (r"So $x = 3y$. The final answer is \boxed{3y}", "3y"),
        ("We get\n\\[ x^2 + 1 \\]", "1 + x^2"),
        ("The answer is 2x + 3.", "3 + 2x"),
        ("18", "9 + 9 = 18\n#### 18"),  # a number alone, and a worked solution without a word
        ("9 + 9 = 18\n#### 18", "9 + 9 = 18\n#### 18"),
    ],
)
def test_reading(response: str, reference: str) -> None:
    item = Item(reference=reference)
    assert math.score(math.read(response, item).value, item) == 1
