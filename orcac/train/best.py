"""The weights of the step with the lowest loss on the examples kept apart, for a stage that leaves these.

They are saved whenever that loss is lower than before, to `best-STEP` in `work`, with AdamW's state if a next stage may
carry it on. A resumed stage goes on from a checkpoint, whose best step may be an earlier one: so the folder of a best
step stays as long as it is that of a checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from orcac.store import durable
from orcac.train import distributed
from orcac.train.apart import Loss
from orcac.train.checkpoints import list_steps


class Best:
    """The best step so far of a stage. All ranks have one and call its methods together."""

    def __init__(self, work: Path, losses: Sequence[Loss], save: Callable[[Path], None]) -> None:
        """`losses`: those up to the step from which the stage goes on; only rank 0's are read. `save`: writes the model
        as it is now to a folder."""
        self._work, self._save = work, save
        self._losses = [one for one in losses if one.step > 0]  # the student itself is not a result

    @property
    def step(self) -> int:
        """The best step; only rank 0 knows it."""
        return find_best(self._losses).step

    @property
    def folder(self) -> Path:
        """The folder of the best step; only rank 0 knows it."""
        return self._work / f"best-{self.step}"

    def consider(self, measured: Loss) -> None:
        """Save the model if `measured`, its loss now, is the lowest."""
        self._losses.append(measured)
        if distributed.any_rank(distributed.is_first() and find_best(self._losses) is measured):
            folder = self._work / f"best-{measured.step}"
            if distributed.is_first():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            distributed.barrier()
            self._save(folder)
            if distributed.is_first():
                for path in folder.rglob("*"):
                    if path.is_file():
                        durable.sync_file(path)
                self._delete_others()
            distributed.barrier()

    def _delete_others(self) -> None:
        """Delete the folders of steps that are the best neither now nor at a checkpoint."""
        until = [*list_steps(self._work), self._losses[-1].step]
        before = ([one for one in self._losses if one.step <= step] for step in until)
        wanted = {f"best-{find_best(losses).step}" for losses in before if losses}
        for folder in self._work.glob("best-*"):
            if folder.name not in wanted:
                shutil.rmtree(folder)


def find_best(losses: Sequence[Loss]) -> Loss:
    """Return the lowest of the losses, the first of equal ones."""
    return min(losses, key=lambda one: one.loss)
