"""Trains where it is killed, and again to the end: `python train_child.py ROOT ROWS STUDENT PLACE...`

PLACE is NAME:CALL: the first try kills itself when the function of that name is called for the CALL-th time. Each
place has its own folder under ROOT, and each try is a process of its own, forked so that torch is loaded once.
Checkpoints are made as often as may be, the first after the first step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny

from orcac.job import Job
from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.run import run

RECIPE = TrainRecipe(seed=3, epochs=8, learning_rate=3e-2, schedule="cosine", batch_rows=6, weight_decay=0.1)


def job(root: Path, rows: Path, student: Path, *, recipe: TrainRecipe = RECIPE, **execution: Any) -> Job:
    values = {"micro_batch_rows": 2, "save_every_seconds": 0} | execution
    return tiny.job(root, recipe, {"rows": [rows], "start": [student]}, TrainExecution(**values))


def at_call(name: str, call: int, number: int) -> None:
    """Send this process the signal `number` when the function is called for the `call`-th time."""
    import torch

    from orcac.train.checkpoints import Metrics, Saver
    from orcac.train.data import Rows

    owner, attribute = {
        "fetch": (Rows, "collate"),  # a micro-batch
        "log": (Metrics, "write"),  # after a step, before its checkpoint
        "save": (torch, "save"),  # within a checkpoint
        "mark": (Saver, "on_save"),  # a checkpoint is whole but for its marker
    }[name]
    original, calls = getattr(owner, attribute), []

    def patched(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, attribute, patched)


def _try(folder: Path, inputs: list[Path], place: str | None) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        if place:
            name, call = place.split(":")
            at_call(name, int(call), signal.SIGKILL)
        run(job(folder, *inputs))
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    from orcac.model.offline import offline

    offline(threads=1)
    from orcac.train.worker import load_model

    root, *inputs = map(Path, sys.argv[1:4])
    load_model(inputs[1] / "model")  # what it imports need not be imported by each child
    for place in sys.argv[4:]:
        assert _try(root / place, inputs, place) == -signal.SIGKILL, place
        assert _try(root / place, inputs, None) == 0, place
