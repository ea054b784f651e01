"""One stage as the processes that train it are told of it: a JSON file, written before they start.

Words are torch's: a *rank* is the number of a process among all of the stage's, its *local rank* that among those of
its machine; the *world size* is how many there are.
"""

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
    def local_size(self) -> int:
        """How many processes train on one machine."""
        return self.execution.gpus or self.execution.processes

    @property
    def world_size(self) -> int:
        """How many processes train."""
        return self.execution.nodes * self.local_size

    @property
    def in_place(self) -> bool:
        """Whether the process that makes the node trains it. DeepSpeed gets one of its own, since it may abort it."""
        return self.world_size == 1 and self.execution.zero == 0

    @property
    def threads(self) -> int:
        """CPU threads of one process."""
        return max(1, self.execution.threads // self.local_size)

    @property
    def accumulation(self) -> int:
        """Micro-batches of each process an optimizer step."""
        return self.recipe.batch_rows // (self.world_size * self.execution.micro_batch_rows)
