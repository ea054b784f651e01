"""Which rows each step trains on, and the rows as the Trainer reads them.

The order is ours and depends on the seed alone: a permutation an epoch, cut into batches; a step's batch is dealt
to the processes and their micro-batches. So a position is (epoch, row) at any world size and micro-batch, and a
resumed run goes on with the very next row. An epoch's last batch, where rows are left for no full one, is filled with
rows of padding, which count for nothing: every step has as many micro-batches on every process.

No attention mask on purpose: transformers tells packed examples apart by restarting `position_ids` only where no
mask is given and the cache is off. `checks.py` proves on the real model that it did.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from orcac.tokenize.rowfile import MASKED, Array, RowFile
from orcac.train.recipe import TrainRecipe

Batch = dict[str, torch.Tensor]  # each int64 (rows, max_length)
FILLER = -1  # in place of a row's number: a row of padding
_AT_ONCE = 4096  # rows


class Tokens(NamedTuple):
    """Each int64 (rows,), or summed up to each step (steps,)."""

    real: np.ndarray  # that are no padding
    supervised: np.ndarray  # that a loss is computed on


def count_tokens(labels: Array) -> Tokens:
    """Of each row. A row's last token is learnt, so what follows the last supervised one is padding."""
    real, supervised = [], []
    for start in range(0, len(labels), _AT_ONCE):
        learnt = np.asarray(labels[start : start + _AT_ONCE]) != MASKED
        found = learnt.sum(axis=1)
        real.append(np.where(found > 0, learnt.shape[1] - learnt[:, ::-1].argmax(axis=1), 0))
        supervised.append(found)
    return Tokens(np.concatenate(real), np.concatenate(supervised))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What every step of a stage trains on; known before the first."""

    seed: int
    rows: int  # in the file
    batch: int  # rows a step
    seen: Tokens  # int64 (steps,): how many by the end of each step, since the stage began

    @property
    def steps(self) -> int:
        return len(self.seen.real)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.batch)

    def batches(self) -> Iterator[np.ndarray]:
        """int64 (batch,) a step: numbers of rows, FILLER at the end of the last batch of an epoch."""
        for epoch in range(math.ceil(self.steps / self.steps_per_epoch)):
            left = self.steps - epoch * self.steps_per_epoch
            rows = np.full(self.steps_per_epoch * self.batch, FILLER, dtype=np.int64)
            rows[: self.rows] = permutation(self.seed, epoch, self.rows)
            yield from rows.reshape(-1, self.batch)[:left]


def permutation(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order of all rows in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(rows)


def plan_order(recipe: TrainRecipe, tokens: Tokens) -> Order:
    """Steps for `epochs`, or up to the one that reaches `tokens`."""
    assert (recipe.epochs is None) != (recipe.tokens is None)
    rows, batch = len(tokens.real), recipe.batch_rows
    ends = np.minimum(np.arange(batch, rows + batch, batch), rows) - 1  # the last row of each step
    real, supervised = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for epoch in itertools.count():
        if real[-1][-1] >= recipe.tokens if recipe.tokens is not None else epoch == recipe.epochs:
            break
        order = permutation(recipe.seed, epoch, rows)
        real.append(real[-1][-1] + tokens.real[order].cumsum()[ends])
        supervised.append(supervised[-1][-1] + tokens.supervised[order].cumsum()[ends])
    seen = Tokens(np.concatenate(real)[1:], np.concatenate(supervised)[1:])
    steps = int(np.searchsorted(seen.real, recipe.tokens)) + 1 if recipe.tokens is not None else len(seen.real)
    return Order(seed=recipe.seed, rows=rows, batch=batch, seen=Tokens(*(counts[:steps] for counts in seen)))


class Share(Sampler[list[int]]):
    """The micro-batches of one process over the whole stage."""

    def __init__(self, order: Order, *, rank: int, world_size: int, micro_batch: int) -> None:
        self._order, self._rank, self._shape = order, rank, (-1, world_size, micro_batch)

    def __len__(self) -> int:
        return self._order.steps * (self._order.batch // math.prod(self._shape[1:]))

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self._order.batches():
            yield from rows.reshape(self._shape)[:, self._rank].tolist()


class Rows(Dataset[int]):
    """The numbers of the rows; `collate` fetches a whole batch at once."""

    def __init__(self, file: RowFile) -> None:
        self.file = file
        length = file.labels.shape[1]
        padding = np.zeros(length), np.arange(length), np.full(length, MASKED)
        self._padding = RowFile(*(array.astype(np.int32) for array in padding))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.file.input_ids)

    def __getitem__(self, row: int) -> int:
        return row

    def collate(self, rows: Sequence[int]) -> Batch:
        """`rows` as what the model is given."""
        fetched = [
            np.stack([padding if row == FILLER else array[row] for row in rows]).astype(np.int64)
            for array, padding in zip(self.file, self._padding, strict=True)
        ]
        return dict(zip(RowFile._fields, map(torch.from_numpy, fetched), strict=True))
