"""One stage as the processes that train it are told of it: a JSON file, written before they start."""

from __future__ import annotations

from pathlib import Path

from orcac.recipe import Frozen
from orcac.train.recipe import TrainExecution, TrainRecipe


class Stage(Frozen):
    label: str  # for people
    recipe: TrainRecipe
    execution: TrainExecution
    rows: Path  # folder of the tokenize artifact
    start: Path  # folder of the student's artifact, or of the stage before
    out: Path  # folder to write `model/` and `metrics.jsonl` to
    work: Path  # folder that survives a kill: checkpoints, metrics so far

    @property
    def world_size(self) -> int:
        """How many processes train."""
        return self.execution.nodes * (self.execution.gpus or self.execution.processes)

    @property
    def accumulation(self) -> int:
        """Micro-batches of each process an optimizer step."""
        return self.recipe.batch_rows // (self.world_size * self.execution.micro_batch_rows)
