"""The order in which a stage trains on its rows, and the dataset and sampler that the Trainer reads them through.

The order depends on the seed alone: one permutation per epoch, or the order of the file, cut into batches; a step's
batch is dealt to the processes and their micro-batches. So a position is (epoch, row) at any world size and
micro-batch, and a resumed run goes on with the very next row. If too few rows are left for an epoch's last batch, it is
filled with rows of padding, which contribute nothing to the loss: every step has the same number of micro-batches on
every process.

There is deliberately no attention mask: transformers separates packed examples by restarted `position_ids` only if no
mask is given and the cache is off. `checks.py` proves on the real model that it does. Without isolation the positions
run on through a row, and its tokens attend to all tokens before them under every attention.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from orcac.tokenize.rowfile import MASKED, RowFile, TokenCounts, count_tokens
from orcac.train.recipe import TrainRecipe

RowTensors = dict[str, torch.Tensor]  # by the names of RowFile; each int64 (rows, max_length)
PADDING_ROW = -1  # in place of a row's number


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowOrder:
    """The rows of every step of a stage, known before the first step."""

    seed: int
    is_shuffled: bool
    rows: int  # in the file
    batch: int  # rows per step
    seen: TokenCounts  # int64 (steps,): tokens by the end of each step, since the stage began

    @property
    def steps(self) -> int:
        return len(self.seen.real)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.batch)

    def iterate_batches(self) -> Iterator[np.ndarray]:
        """Yield the row numbers of each step: int64 (batch,), PADDING_ROW at the end of an epoch's last batch."""
        for epoch in range(math.ceil(self.steps / self.steps_per_epoch)):
            left = self.steps - epoch * self.steps_per_epoch
            rows = np.full(self.steps_per_epoch * self.batch, PADDING_ROW, dtype=np.int64)
            rows[: self.rows] = order_rows(self.seed, epoch, self.rows, is_shuffled=self.is_shuffled)
            yield from rows.reshape(-1, self.batch)[:left]


def order_rows(seed: int, epoch: int, rows: int, *, is_shuffled: bool) -> np.ndarray:
    """Return the order of all rows in an epoch: int64 (rows,)."""
    if not is_shuffled:
        return np.arange(rows)
    return np.random.default_rng((seed, epoch)).permutation(rows)


def plan_order(recipe: TrainRecipe, tokens: TokenCounts) -> RowOrder:
    """Return the order of a stage, which ends after `recipe.epochs`, after `recipe.steps`, or with the step that
    reaches `recipe.tokens`.

    `tokens`: the counts of each row.
    """
    assert [recipe.epochs, recipe.tokens, recipe.steps].count(None) == 2
    rows, batch = len(tokens.real), recipe.batch_rows
    ends = np.minimum(np.arange(batch, rows + batch, batch), rows) - 1  # the last row of each step
    epochs = recipe.epochs if recipe.steps is None else math.ceil(recipe.steps / len(ends))
    real, supervised = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for epoch in itertools.count():
        if real[-1][-1] >= recipe.tokens if recipe.tokens is not None else epoch == epochs:
            break
        order = order_rows(recipe.seed, epoch, rows, is_shuffled=recipe.order == "shuffled")
        real.append(real[-1][-1] + tokens.real[order].cumsum()[ends])
        supervised.append(supervised[-1][-1] + tokens.supervised[order].cumsum()[ends])
    seen = TokenCounts(np.concatenate(real)[1:], np.concatenate(supervised)[1:])
    steps = len(seen.real) if recipe.steps is None else recipe.steps
    if recipe.tokens is not None:
        steps = int(np.searchsorted(seen.real, recipe.tokens)) + 1
    return RowOrder(
        seed=recipe.seed,
        is_shuffled=recipe.order == "shuffled",
        rows=rows,
        batch=batch,
        seen=TokenCounts(*(counts[:steps] for counts in seen)),
    )


def join_examples(file: RowFile) -> RowFile:
    """Return the rows with positions that run on through each, padding included: the model reads a row as one text."""
    rows, length = file.labels.shape
    return file._replace(position_ids=np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length)))


class RankSampler(Sampler[list[int]]):
    """The micro-batches of one process over the whole stage, as lists of row numbers.

    With `lengths`, int64 (rows,), the rows of a step are sorted by length, so that those of a micro-batch are alike.
    """

    def __init__(
        self, order: RowOrder, *, rank: int, world_size: int, micro_batch: int, lengths: np.ndarray | None = None
    ) -> None:
        self._order, self._rank, self._shape, self._lengths = order, rank, (-1, world_size, micro_batch), lengths

    def __len__(self) -> int:
        return self._order.steps * (self._order.batch // math.prod(self._shape[1:]))

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self._order.iterate_batches():
            if self._lengths is not None:
                sizes = np.where(rows == PADDING_ROW, 0, self._lengths[rows])
                rows = rows[np.argsort(-sizes, kind="stable")]
            yield from rows.reshape(self._shape)[:, self._rank].tolist()


class PackedRows(Dataset[int]):
    """A dataset of row numbers; `collate` fetches the rows of a whole micro-batch at once.

    Rows of one example each (`is_padded`) are cut to the longest of the micro-batch. The padding that is left is on the
    right, where a causal model never looks.
    """

    def __init__(self, file: RowFile, *, is_padded: bool = False) -> None:
        self.file = file
        self.tokens = count_tokens(file)
        self.lengths = self.tokens.real if is_padded else None
        length = file.labels.shape[1]
        padding = np.zeros(length), np.arange(length), np.full(length, MASKED)
        self._padding = [array.astype(np.int32) for array in padding]

    def __len__(self) -> int:
        return len(self.file.input_ids)

    def __getitem__(self, row: int) -> int:
        return row

    def collate(self, rows: Sequence[int]) -> RowTensors:
        """Return the model's inputs for these row numbers."""
        longest = self.file.labels.shape[1]
        if self.lengths is not None:
            longest = max([1, *(int(self.lengths[row]) for row in rows if row != PADDING_ROW)])
        arrays = [np.empty((len(rows), longest), dtype=np.int64) for _ in self.file]
        for place, row in enumerate(rows):
            for array, stored, padding in zip(arrays, self.file, self._padding, strict=True):
                array[place] = (padding if row == PADDING_ROW else stored[row])[:longest]
        return dict(zip(RowFile._fields, map(torch.from_numpy, arrays), strict=True))
