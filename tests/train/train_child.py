"""Trains until it kills itself: `python train_child.py CALL ROOT ROWS STUDENT`, at the CALL-th batch it fetches.

Checkpoints are made as often as may be, the first after the first step.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny

from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.run import run

RECIPE = TrainRecipe(seed=3, epochs=40, learning_rate=1e-2, schedule="cosine", batch_rows=4, weight_decay=0.1)


def job(root: Path, rows: Path, student: Path, *, recipe: TrainRecipe = RECIPE, micro: int = 2) -> tiny.Job:
    execution = TrainExecution(micro_batch_rows=micro, save_every_seconds=0)
    return tiny.job(root, recipe, {"rows": [rows], "start": [student]}, execution)


def at_batch(call: int, number: int) -> None:
    """Send this process the signal `number` when the `call`-th batch is fetched."""
    from orcac.train.data import Batch, Rows

    collate, calls = Rows.collate, []

    def patched(self: Rows, rows: Sequence[int]) -> Batch:
        calls.append(rows)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return collate(self, rows)

    Rows.collate = patched  # type: ignore[method-assign]


if __name__ == "__main__":
    at_batch(int(sys.argv[1]), signal.SIGKILL)
    run(job(*map(Path, sys.argv[2:])))
