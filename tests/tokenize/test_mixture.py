"""Tests of orcac/tokenize/mixture.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orcac.errors import InputError
from orcac.tokenize.mixture import Drawn, draw_mixture
from orcac.tokenize.recipe import Mixture, Part

MEMBERS = [np.arange(0, 30), np.arange(30, 40)]
LENGTHS = np.where(np.arange(40) < 30, 10, 30)
TICKETS = np.random.PCG64(0).random_raw(40)


def draw(*shares: float, **fields: object) -> Drawn:
    mixture = Mixture.model_validate({"parts": [Part(share=share) for share in shares], "shares": "examples"} | fields)
    return draw_mixture(mixture, ["long", "short"], members=MEMBERS, lengths=LENGTHS, tickets=TICKETS)


@pytest.mark.parametrize(
    ("shares", "fields", "examples", "repeated"),
    [
        ((0.5, 0.5), {}, [10, 10], 0),
        ((0.9, 0.1), {}, [30, 3], 0),
        ((0.5, 0.5), {"repeat": True}, [30, 30], 20),
        ((1 / 3, 2 / 3), {"take": 10}, [3, 7], 0),
        ((0.5, 0.5), {"shares": "tokens"}, [30, 10], 0),
        ((0.25, 0.75), {"shares": "tokens"}, [10, 10], 0),
        ((0.25, 0.75), {"shares": "tokens", "take": 1_200, "repeat": True}, [30, 30], 20),
        ((0.1, 0.9), {"take": 50, "repeat": True}, [5, 45], 35),
    ],
)
def test_a_mixture_has_its_shares(
    shares: tuple[float, float], fields: dict[str, object], examples: list[int], repeated: int
) -> None:
    drawn = draw(*shares, **fields)
    assert [part.examples for part in drawn.parts] == examples and drawn.repeated == repeated
    for part, members in zip(drawn.parts, MEMBERS, strict=True):
        times = np.bincount(drawn.indices, minlength=40)[members]
        assert times.sum() == part.examples and times.max() - times.min() <= 1
        assert part.tokens == (times * LENGTHS[members]).sum() and part.available == len(members)
    assert len(drawn.indices) + drawn.undrawn - drawn.repeated == 40


def test_the_examples_of_a_smaller_share_are_among_those_of_a_larger_one() -> None:
    drawn = [{*draw(share, 1 - share, take=10).indices.tolist()} for share in (0.2, 0.5, 0.8)]
    long = [{index for index in some if index < 30} for some in drawn]
    assert [len(some) for some in long] == [2, 5, 8]
    assert all(few < more for few, more in itertools.pairwise(long))


def test_a_part_that_is_too_short_or_has_no_share_is_refused() -> None:
    with pytest.raises(InputError, match="`short` has 10 examples and its share of the mixture is 15") as caught:
        draw(0.5, 0.5, take=30)
    assert "`take: 20`" in caught.value.fix
    with pytest.raises(InputError, match="no example of `short`"):
        draw(0.999, 0.001, take=10)


@pytest.mark.parametrize("repeat", [False, True])
def test_a_part_without_examples_is_refused(repeat: bool) -> None:
    mixture = Mixture(parts=(Part(share=0.5), Part(share=0.5)), shares="examples", repeat=repeat)
    members = [np.arange(0), np.arange(5)]
    with pytest.raises(InputError, match="`none` has 0 examples") as caught:
        draw_mixture(mixture, ["none", "some"], members=members, lengths=LENGTHS, tickets=TICKETS)
    assert "collect more answers" in caught.value.fix
