"""Packed rows as the Trainer reads them: memory-mapped, in batches of the three tensors and nothing else.

No attention mask on purpose: transformers tells packed examples apart by restarting `position_ids` only where no
mask is given and the cache is off. `checks.py` proves on the real model that it did.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from orcac.tokenize.rowfile import MASKED, RowFile

Batch = dict[str, torch.Tensor]  # each int64 (rows, max_length)


class Rows(Dataset[int]):
    """The numbers of the rows; `collate` fetches a whole batch at once."""

    def __init__(self, file: RowFile) -> None:
        self.file = file

    def __len__(self) -> int:
        return len(self.file.input_ids)

    def __getitem__(self, row: int) -> int:
        return row

    def collate(self, rows: Sequence[int]) -> Batch:
        """`rows` as what the model is given."""
        return {
            name: torch.from_numpy(array[list(rows)].astype(np.int64)) for name, array in self.file._asdict().items()
        }


def real_tokens(labels: torch.Tensor) -> int:
    """How many tokens of a batch are no padding. A row's last token is learnt, so what follows it is padding.

    `labels`: int64 (rows, max_length).
    """
    padding = (labels != MASKED).flip(1).to(torch.int8).argmax(1)
    return int((labels.shape[1] - padding).sum())
