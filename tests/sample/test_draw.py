"""Tests of orcac/sample/draw.py: Algorithm 1 against its loop in the paper, and the stability of draws."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from orcac.sample import draw
from orcac.sample.recipe import Draw, Message

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def naive(sizes: list[int], take: int, rng: random.Random) -> tuple[int, ...]:
    """Return the counts of Algorithm 1 by its loop: pick a non-empty task uniformly, take one of its queries."""
    left = list(sizes)
    for _ in range(take):
        task = rng.choice([index for index, count in enumerate(left) if count])
        left[task] -= 1
    return tuple(size - count for size, count in zip(sizes, left, strict=True))


@pytest.mark.parametrize("chunk", [3, 8192])
def test_allocation_has_the_distribution_of_algorithm_1(chunk):
    sizes, take, tries = [1, 2, 5, 9], 8, 3000
    ours = Counter(
        tuple(draw.allocate(np.array(sizes), take, seed=seed, chunk_size=chunk).tolist()) for seed in range(tries)
    )
    theirs = Counter(naive(sizes, take, random.Random(seed)) for seed in range(tries))
    outcomes = sorted(outcome for outcome in ours | theirs if (ours + theirs)[outcome] >= 20)
    table = [[counter[outcome] for outcome in outcomes] for counter in (ours, theirs)]
    assert len(outcomes) > 5
    assert chi2_contingency(table).pvalue > 0.001


@given(sizes=SIZES, data=st.data(), seed=st.integers(0, 2**64 - 1))
def test_allocation_sums_to_take_and_grows_with_it(sizes, data, seed):
    less, more = sorted(data.draw(st.tuples(*[st.integers(0, sum(sizes))] * 2)))
    small, large = (draw.allocate(np.array(sizes), take, seed=seed) for take in (less, more))
    assert small.sum() == less and large.sum() == more
    assert (small <= large).all() and (large <= sizes).all()


def test_allocation_of_millions_over_uneven_tasks():
    sizes = np.array([2_000_000] + [10] * 1_500)
    counts = draw.allocate(sizes, 1_500_000, seed=1)
    assert counts.sum() == 1_500_000 and (counts[1:] == 10).all()


@given(sizes=SIZES, data=st.data(), seed=st.integers(0, 1000))
def test_by_task_takes_the_allocated_numbers_by_lowest_ticket(sizes, data, seed):
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    np.random.default_rng(seed).shuffle(tasks)
    tickets = np.array([draw.ticket(seed, str(place)) for place in range(len(tasks))], dtype=np.uint64)
    take = data.draw(st.integers(0, len(tasks)))
    mask = draw.by_task(tasks, tickets, take, seed=seed)
    counts = draw.allocate(np.array(sizes), take, seed=seed)
    assert np.bincount(tasks[mask], minlength=len(sizes)).tolist() == counts.tolist()
    for task in range(len(sizes)):
        mine = tasks == task
        assert max(tickets[mine & mask], default=0) <= min(tickets[mine & ~mask], default=2**64)


def test_caps_keep_the_lowest_tickets_of_each_task():
    tasks, tickets = np.array([0, 1, 0, 0, 1]), np.array([5, 9, 3, 4, 8], dtype=np.uint64)
    assert draw.within_caps(tasks, tickets, per_task=2).tolist() == [False, True, True, True, True]


def test_messages_are_uniform_and_choice_messages_go_to_queries_with_options():
    always, choice = tuple(Message(id=i, text=str(i)) for i in (3, 4, 7)), (Message(id=8, text="8"),)
    messages = Draw(always=always, multiple_choice=choice)

    def ids(has_options: bool) -> Counter[int]:
        return Counter(
            draw.pick_message(messages, has_options=has_options, seed=0, names=(str(i),)).id for i in range(6000)
        )

    assert set(ids(False)) == {3, 4, 7}
    assert set(ids(True)) == {3, 4, 7, 8}
    assert all(abs(count - 1500) < 150 for count in ids(True).values())  # four standard deviations


def test_tickets_differ_by_seed_and_name():
    assert (
        len({draw.ticket(0, "a", "b"), draw.ticket(1, "a", "b"), draw.ticket(0, "a", "c"), draw.ticket(0, "ab")}) == 4
    )
