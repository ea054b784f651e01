"""Tests of orcac/checkers/auto.py on pairs that are equal or unequal by construction (pairs.py); benchmarks/parser.py
prints the shares of 5,000."""

import pairs

from orcac.checkers import CHECKERS


def test_pairs_are_equal_or_unequal_as_constructed() -> None:
    auto = CHECKERS["auto"]
    drawn = list(pairs.generate(seed=13, count=1000))
    assert len({pair.form for pair in drawn}) == 50
    assert [pair for pair in drawn if auto.same(pair.first, pair.second, pair.item) != pair.equal] == []
    assert [pair for pair in drawn if auto.same(pair.second, pair.first, pair.item) != pair.equal] == []
