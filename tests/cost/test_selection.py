"""Tests of orcac/cost/selection.py."""

from __future__ import annotations

from typing import Any

from orcac.cost.selection import estimate_kept
from orcac.filter.recipe import FilterRecipe, Selection


def test_a_selection_keeps_at_most_so_many_answers_of_a_prompt() -> None:
    def kept(samples: int, **select: Any) -> tuple[float, float]:
        found = estimate_kept(FilterRecipe(select=Selection(**select)), samples)
        return round(found.share.mid * samples, 3), round(found.longer, 2)

    assert kept(16, by="random") == (1, 1) and kept(4, by="random", keep=9) == (4, 1)
    assert kept(1, by="verified") == (0.8, 1) and kept(2, by="verified") == (0.96, 1)
    # two votes of 3 to 1 agree in 10 of 16 cases; of 4 such votes, 54 of 256 are two to two
    assert kept(2, by="majority") == (0.625, 1) and kept(4, by="majority") == (round(1 - 54 / 256, 3), 1)
    assert kept(1, by="majority") == (1, 1) and kept(3, by="majority", keep=3) == (2.438, 1)
    short, long = kept(4, by="shortest")[1], kept(4, by="longest")[1]
    assert short < kept(4, by="shortest", keep=2)[1] < 1 < long


def test_agreement_leaves_right_or_wrong_answers() -> None:
    right, wrong = (estimate_kept(FilterRecipe(**{name: True}), 4) for name in RULES)
    assert (right.share.mid, wrong.share.mid) == (0.8, 0.2)


RULES = ("agree_with_reference", "contradict_reference")
