"""Tests of orcac/train/data.py."""

import numpy as np
import pytest
import tiny
import torch
from accelerate import skip_first_batches
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from orcac.tokenize.rowfile import MASKED, TokenCounts, count_tokens
from orcac.train.data import PADDING_ROW, PackedRows, RankSampler, plan_order
from orcac.train.recipe import TrainRecipe


def recipe(**fields):
    return TrainRecipe(learning_rate=1e-3, **({"seed": 0, "epochs": None, "batch_rows": 8} | fields))


def tokens_of(rows, seed=0):
    real = np.random.default_rng(seed).integers(1, 100, rows)
    return TokenCounts(real, real // 2)


def batches_of(order, world_size, micro_batch):
    """Return the rows of each step: the micro-batches of all processes together, in the order of the batch."""
    ranks = [
        list(RankSampler(order, rank=rank, world_size=world_size, micro_batch=micro_batch))
        for rank in range(world_size)
    ]
    flat = [row for batches in zip(*ranks, strict=True) for batch in batches for row in batch]
    return np.reshape(flat, (order.steps, -1)).tolist()


@given(rows=st.integers(1, 60), seed=st.integers(0, 2**32 - 1), epochs=st.integers(1, 4))
def test_any_world_size_and_micro_batch_takes_the_same_rows_at_the_same_step(rows, seed, epochs):
    order = plan_order(recipe(seed=seed, epochs=epochs), tokens_of(rows))
    taken = batches_of(order, 1, 1)
    assert len(taken) == order.steps == epochs * -(-rows // 8)
    for epoch in range(epochs):
        of_epoch = taken[epoch * order.steps_per_epoch : (epoch + 1) * order.steps_per_epoch]
        assert sorted(row for batch in of_epoch for row in batch if row != PADDING_ROW) == list(range(rows))
    for world_size, micro_batch in [(1, 4), (1, 8), (2, 1), (2, 4), (4, 1), (4, 2), (8, 1)]:
        assert batches_of(order, world_size, micro_batch) == taken
    assert rows < 8 or taken[: order.steps_per_epoch] != taken[order.steps_per_epoch : 2 * order.steps_per_epoch]


@given(rows=st.integers(1, 60), seed=st.integers(0, 99), wanted=st.integers(1, 9000))
def test_a_stage_of_tokens_ends_with_the_step_that_reaches_them(rows, seed, wanted):
    tokens = tokens_of(rows, seed)
    order = plan_order(recipe(seed=seed, tokens=wanted), tokens)
    counts = [sum(int(tokens.real[row]) for row in batch if row != PADDING_ROW) for batch in batches_of(order, 1, 8)]
    assert order.seen.real.tolist() == np.cumsum(counts).tolist()
    assert sum(counts) >= wanted > sum(counts[:-1])


@given(rows=st.integers(1, 60), seed=st.integers(0, 99), steps=st.integers(1, 40))
def test_a_stage_of_steps_is_the_beginning_of_one_of_epochs(rows, seed, steps):
    tokens = tokens_of(rows, seed)
    order, longer = plan_order(recipe(seed=seed, steps=steps), tokens), plan_order(recipe(seed=seed, epochs=40), tokens)
    assert order.steps == steps
    assert batches_of(order, 1, 8) == batches_of(longer, 1, 8)[:steps]
    assert order.seen.real.tolist() == longer.seen.real[:steps].tolist()


def test_rows_of_one_example_are_sorted_within_a_step_and_cut_to_the_longest(tmp_path):
    sizes = np.random.default_rng(0).integers(2, 30, 21)
    file = tiny.write_rows(tmp_path / "rows", [[([1] * size, size - 1)] for size in sizes], max_length=32)
    rows = PackedRows(file, is_padded=True)
    assert rows.lengths.tolist() == sizes.tolist()
    assert rows.collate([3, PADDING_ROW])["labels"].shape == (2, sizes[3])
    order = plan_order(recipe(epochs=1), TokenCounts(sizes, sizes))
    plain, found = (
        list(RankSampler(order, rank=0, world_size=1, micro_batch=8, lengths=lengths))
        for lengths in (None, rows.lengths)
    )
    assert [sorted(batch) for batch in found] == [sorted(batch) for batch in plain]
    for batch in found:
        taken = [0 if row == PADDING_ROW else sizes[row] for row in batch]
        assert taken == sorted(taken, reverse=True)


def test_a_resumed_loader_goes_on_with_the_next_row_at_another_world_size(tmp_path):
    rows = PackedRows(tiny.write_rows(tmp_path / "rows", [[([row, 0], 1)] for row in range(21)], max_length=4))
    order = plan_order(recipe(epochs=3), tokens_of(21))

    def fetch(world_size, micro_batch, steps):
        """Yield the rows after `steps` steps, which the Trainer skips in this way."""
        samplers = [
            RankSampler(order, rank=rank, world_size=world_size, micro_batch=micro_batch) for rank in range(world_size)
        ]
        loaders = [DataLoader(rows, batch_sampler=sampler, collate_fn=rows.collate) for sampler in samplers]
        done = steps * 8 // (world_size * micro_batch)
        for batches in zip(*(skip_first_batches(loader, done) for loader in loaders), strict=True):
            yield from (int(row[0]) for batch in batches for row in batch["input_ids"])

    whole = list(fetch(1, 2, 0))
    for steps in (1, 3, 5):
        assert list(fetch(2, 4, steps)) == list(fetch(4, 1, steps)) == whole[8 * steps :]


def test_tokens_are_counted_without_padding(tmp_path):
    file = tiny.write_rows(tmp_path / "rows", [[([7, 7], 1), ([7, 7], 1)], [([7] * 6, 5)], []], max_length=6)
    assert [counts.tolist() for counts in count_tokens(file)] == [[4, 6, 0], [2, 1, 0]]


def test_a_padding_row_is_masked(tmp_path):
    file = tiny.write_rows(tmp_path / "rows", [[([1], 0)], [([5, 6], 1), ([7], 0)]], max_length=3)
    batch = PackedRows(file).collate([1, PADDING_ROW])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 0], [0, 1, 2]]
    assert batch["labels"].tolist() == [[MASKED, 6, 7], [MASKED] * 3]
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides_the_order(seed):
    orders = [plan_order(recipe(seed=seed, epochs=2), tokens_of(9)) for _ in range(2)]
    assert batches_of(orders[0], 1, 1) == batches_of(orders[1], 1, 1)
    assert batches_of(orders[0], 1, 1) != batches_of(plan_order(recipe(seed=2, epochs=2), tokens_of(9)), 1, 1)
