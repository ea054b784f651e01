"""Tests of orcac/tokenize/pack.py."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orcac.tokenize.pack import best_fit_decreasing, shuffle_and_fill


@st.composite
def problems(draw):
    capacity = draw(st.integers(1, 40))
    return draw(st.lists(st.integers(1, capacity), max_size=40)), capacity


def textbook_rooms(lengths, capacity):
    """Return the room left in each row by the textbook version of best-fit-decreasing."""
    rooms = []
    for length in sorted(lengths, reverse=True):
        candidates = [row for row, room in enumerate(rooms) if room >= length]
        if candidates:
            rooms[min(candidates, key=lambda row: rooms[row])] -= length
        else:
            rooms.append(capacity - length)
    return sorted(rooms)


def rooms(packed, lengths, capacity):
    return sorted(capacity - sum(lengths[index] for index in row) for row in packed)


@given(problems())
def test_best_fit_is_the_textbook_one(problem):
    lengths, capacity = problem
    packed = best_fit_decreasing(lengths, capacity)
    assert sorted(index for row in packed for index in row) == list(range(len(lengths)))
    assert rooms(packed, lengths, capacity) == textbook_rooms(lengths, capacity)


@given(problems(), st.integers(0, 9))
def test_next_fit_packs_every_example_once_and_no_two_neighbours_would_share_a_row(problem, seed):
    lengths, capacity = problem
    packed = shuffle_and_fill(lengths, capacity, np.random.default_rng(seed))
    assert sorted(index for row in packed for index in row) == list(range(len(lengths)))
    sums = [sum(lengths[index] for index in row) for row in packed]
    assert all(total <= capacity for total in sums)
    firsts = [lengths[row[0]] for row in packed[1:]]
    assert all(total + first > capacity for total, first in zip(sums, firsts, strict=False))


def test_best_fit_saves_rows_on_lognormal_lengths():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(6.3, 0.8, 5000), 1, 2048).astype(int)
    best, paper = best_fit_decreasing(lengths, 2048), shuffle_and_fill(lengths, 2048, rng)
    assert lengths.sum() / 2048 / len(best) > 0.99
    assert 0.75 < lengths.sum() / 2048 / len(paper) < 0.85
