"""What must hold before the first step, checked on the real model and the real rows. Each of these fails silently
in a run that nobody watches: the loss still falls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from orcac.errors import InputError, OrcacError
from orcac.tokenize.rowfile import MASKED, RowFile

TOLERANCE = 1e-4  # of a logit, relative to the largest; a leak moves logits by tenths


def count_supervised(file: RowFile, expected: int) -> int:
    """The labels that a loss is computed on. Raises InputError where there is none, or not as many as counted."""
    found = sum(int((labels != MASKED).sum()) for labels in file.labels)
    if not found:
        raise InputError("every label is masked: there is nothing to learn", fix="check the chat template")
    if found != expected:
        raise InputError(
            f"{found} labels to learn where counts.json says {expected}", fix="delete the rows and make them again"
        )
    return found


def check_steps(trainer: Any, planned: int) -> None:
    """Raise OrcacError where the loader would give another number of optimizer steps than was planned."""
    batches = len(trainer.get_train_dataloader())
    found = trainer.args.num_train_epochs * math.ceil(batches / trainer.args.gradient_accumulation_steps)
    if found != planned:
        raise OrcacError(f"the loader gives {found} steps where {planned} were planned", fix="report this as a bug")


def check_isolation(model: Any, file: RowFile) -> None:
    """Raise OrcacError where two examples of one row see each other: packed or alone, logits must be equal."""
    pair = _first_pair(file)
    if pair is None:
        return
    row, middle, end = pair
    with torch.inference_mode():
        model.eval()
        packed = _logits(model, file, row, 0, end)
        alone = torch.cat([_logits(model, file, row, 0, middle), _logits(model, file, row, middle, end)])
    error = float((packed - alone).abs().max())
    if error > TOLERANCE * max(1.0, float(alone.abs().max())):
        raise OrcacError(
            f"examples that share a row see each other: their logits differ by {error:.2g} from those alone",
            fix="use a model whose attention tells packed examples apart by position_ids, without a mask or a cache",
        )


def _first_pair(file: RowFile) -> tuple[int, int, int] | None:
    """A row that holds two examples, where its second one starts, and where that ends."""
    for row, (positions, labels) in enumerate(zip(file.position_ids, file.labels, strict=True)):
        length = int(np.flatnonzero(labels != MASKED)[-1]) + 1
        starts = [*np.flatnonzero(positions[:length] == 0).tolist(), length]
        if len(starts) > 2:
            return row, starts[1], starts[2]
    return None


def _logits(model: Any, file: RowFile, row: int, start: int, end: int) -> torch.Tensor:
    """float32 (tokens, vocabulary) for one stretch of a row."""
    tokens, positions = (
        torch.from_numpy(array[row, start:end].astype(np.int64))[None].to(model.device)
        for array in (file.input_ids, file.position_ids)
    )
    return model(input_ids=tokens, position_ids=positions).logits[0].float()
