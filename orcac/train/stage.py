"""The description of one stage that its training processes read: a JSON file, written before they start.

The terms are torch's: a *rank* is the number of a process among all processes of the stage, its *local rank* the number
among those of its machine; the *world size* is the number of processes.
"""

from __future__ import annotations

from pathlib import Path

from orcac.recipe import Frozen
from orcac.train.recipe import TrainExecution, TrainRecipe


class StageJob(Frozen):
    """Everything a stage's training processes need, passed as JSON."""

    label: str  # shown in progress lines
    recipe: TrainRecipe
    execution: TrainExecution
    rows: Path  # folder of the tokenize artifact
    start: Path  # folder of the student's artifact, or of the previous stage's
    base: Path | None = None  # folder of the student's artifact, if an adapter goes on from the previous stage's
    out: Path  # folder for `model/` and `metrics.jsonl`
    work: Path  # folder that survives a kill: checkpoints, metrics so far

    @property
    def frozen(self) -> Path:
        """The model folder whose weights the stage starts from, or to which it adds an adapter."""
        return (self.base or self.start) / "model"

    @property
    def local_size(self) -> int:
        """Number of processes per machine."""
        return self.execution.gpus or self.execution.processes

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.execution.nodes * self.local_size

    @property
    def is_in_process(self) -> bool:
        """True if the process that makes the node also trains it. DeepSpeed may abort its process, so it gets one of
        its own."""
        return self.world_size == 1 and self.execution.zero == 0

    @property
    def threads(self) -> int:
        """CPU threads per process."""
        return max(1, self.execution.threads // self.local_size)

    @property
    def accumulation(self) -> int:
        """Micro-batches of each process per optimizer step."""
        return self.recipe.batch_rows // (self.world_size * self.execution.micro_batch_rows)
