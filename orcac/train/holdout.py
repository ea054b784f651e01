"""The loss on the examples that a stage keeps apart (`orcac.tokenize.holdout`), before, during and after training.

It is measured at fixed steps, so a resumed stage measures at the same ones. The rows are dealt to the processes, one
row in each forward pass and as many passes on every process, since ZeRO-3 gathers weights in each. The sums per row are
then added up, so neither the number of processes nor that of rows at once matters. Dropout is off, no gradient is
taken, and no random number is drawn: training is the same as without.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from orcac.tokenize import rowfile
from orcac.tokenize.holdout import ROWS, Group, read_groups
from orcac.train import distributed
from orcac.train.apart import Loss, count_apart
from orcac.train.best import Best
from orcac.train.checkpoints import divergence
from orcac.train.checks import eval_mode
from orcac.train.data import PADDING_ROW, PackedRows
from orcac.train.metrics import MetricsWriter, name_curves
from orcac.train.recipe import PARTS
from orcac.train.stage import StageJob


class Holdout(TrainerCallback):
    """A callback that measures the loss and writes it to the metrics, before the checkpoint of the same step."""

    def __init__(
        self,
        stage: StageJob,
        groups: list[Group],
        metrics: MetricsWriter,
        *,
        steps: int,
        steps_per_epoch: int,
        is_padded: bool,
    ) -> None:
        self._label, self._work, self._groups, self._metrics = stage.label, stage.work, groups, metrics
        self._data = PackedRows(rowfile.read(stage.rows / ROWS), is_padded=is_padded)
        assert len(self._data) == sum(group.rows for group in groups)
        self.steps = choose_steps(steps, epoch=steps_per_epoch if stage.recipe.keep == "best" else steps)
        self.best: Best | None = None  # of a stage that leaves the weights of its best step; set before training
        self.newest = metrics.apart[-1] if metrics.apart else None  # None before the first
        self.trainer: Trainer | None = None  # set before training

    def measure(self, step: int) -> None:
        """Measure the loss after `step` optimizer steps. All ranks call this together.

        Raises InputError if it is not finite.
        """
        assert self.trainer is not None
        sums = compute_row_losses(self.trainer, self._data)
        tokens = [group.supervised_tokens for group in self._groups]
        starts = np.cumsum([0, *(group.rows for group in self._groups)])
        totals = np.add.reduceat(sums, starts[:-1])
        self.newest = Loss(step, float(totals.sum() / sum(tokens)))
        if not math.isfinite(self.newest.loss):
            problem = f"the loss on the examples kept apart is {self.newest.loss} after step {step}"
            if not step:
                raise divergence(problem, self._work, fix="check the weights that the stage starts from")
            raise divergence(problem, self._work)
        losses = {group.name: float(total / n) for group, total, n in zip(self._groups, totals, tokens, strict=True)}
        self._metrics.write_holdout(step=step, loss=self.newest.loss, groups=losses)
        # to Weights & Biases, if it gets the metrics; with the Trainer's own control it would skip this step's line
        curves, trainer = name_curves(self.newest.loss, losses), self.trainer
        trainer.callback_handler.on_log(trainer.args, trainer.state, TrainerControl(), curves)
        if self.best and step:
            self.best.consider(self.newest)
        if distributed.is_first():
            when = "before training" if step == 0 else f"after step {step:,}"
            listed = "".join(f", {name} {loss:.3f}" for name, loss in losses.items()) if len(losses) > 1 else ""
            apart = count_apart(sum(group.examples for group in self._groups))
            print(f"{self._label}  loss on {apart} {self.newest.loss:.3f} {when}{listed}", file=sys.stderr)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step in self.steps:
            self.measure(state.global_step)


def read_holdout(
    stage: StageJob, metrics: MetricsWriter, *, steps: int, steps_per_epoch: int, is_padded: bool
) -> Holdout | None:
    """Return the callback of a stage of `steps` optimizer steps; None if its rows keep nothing apart."""
    groups = read_groups(stage.rows)
    if not groups:
        return None
    return Holdout(stage, groups, metrics, steps=steps, steps_per_epoch=steps_per_epoch, is_padded=is_padded)


def choose_steps(steps: int, *, epoch: int) -> frozenset[int]:
    """Return the steps after which the loss is measured: evenly spread, the last one among them, and each multiple of
    `epoch`."""
    return frozenset(math.ceil(steps * part / PARTS) for part in range(1, PARTS + 1)) | {*range(epoch, steps, epoch)}


def compute_row_losses(trainer: Trainer, data: PackedRows) -> np.ndarray:
    """Return the cross-entropy of each row, summed over its supervised tokens, float64 (rows,)."""
    model, rank, size = trainer.model, trainer.args.process_index, trainer.args.world_size
    sums = torch.zeros(len(data), dtype=torch.float64)
    with torch.no_grad(), eval_mode(model), trainer.compute_loss_context_manager():
        for start in range(0, len(data), size):
            row = start + rank
            inputs = data.collate([row if row < len(data) else PADDING_ROW])
            inputs = {name: tensor.to(trainer.args.device) for name, tensor in inputs.items()}
            total = model(**inputs, num_items_in_batch=1).loss
            if row < len(data):
                sums[row] = total.double().cpu()
    return distributed.add_up(sums, trainer.args.device).numpy()
