"""transformers' Trainer, set up for packed rows: what is turned off, and the three methods that differ.

The loss of a step is the sum over its supervised tokens divided by their number, over all micro-batches of the
step: so 1 × 4 and 4 × 1 rows give the same gradient. (The Trainer does that by itself where the model takes
`num_items_in_batch`, which `settings` has no say in and a test checks.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from orcac.errors import OrcacError
from orcac.progress import Progress
from orcac.train.checkpoints import KEPT, Metrics
from orcac.train.data import Batch, real_tokens
from orcac.train.launch import deepspeed_config
from orcac.train.recipe import TrainRecipe
from orcac.train.stage import Stage

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def planned_steps(recipe: TrainRecipe, rows: int) -> int:
    """Optimizer steps: the last batch of an epoch may be smaller."""
    return (recipe.epochs or 1) * math.ceil(rows / recipe.batch_rows)


def settings(stage: Stage, *, steps: int) -> TrainingArguments:
    """The Trainer's arguments. Checkpoints are asked for by `checkpoints.Saver`, and by nobody else."""
    recipe, execution = stage.recipe, stage.execution
    return TrainingArguments(
        output_dir=str(stage.work),
        seed=recipe.seed,
        data_seed=recipe.seed,
        num_train_epochs=recipe.epochs or 1,
        per_device_train_batch_size=execution.micro_batch_rows,
        gradient_accumulation_steps=stage.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_SCHEDULES[recipe.schedule],
        warmup_steps=math.ceil(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=recipe.precision == "bf16",
        use_cpu=execution.gpus == 0 and execution.zero == 0,  # with it, accelerate leaves DeepSpeed out
        deepspeed=deepspeed_config(stage) if execution.zero else None,
        accelerator_config={"use_configured_state": True},  # the group that `distributed.join` formed
        save_strategy="no",
        save_total_limit=KEPT,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=execution.gpus > 0,
    )


class PackedTrainer(Trainer):
    """Counts the tokens that are no padding, writes each step's metrics, and leaves out the operation count."""

    def __init__(self, *, metrics: Metrics, progress: Progress, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._metrics, self._progress = metrics, progress
        self._begun: tuple[float, int] | None = None  # when, and after how many tokens, the first step ended

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor | int | None]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._metrics.tokens += sum(real_tokens(batch["labels"]) for batch in batches)
        return batches, items

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called after each step, and once at the end with a summary that we do not use.

        The Trainer's own keeps every line in memory and in every checkpoint.
        """
        if "loss" not in logs:
            return
        step = self.state.global_step
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["grad_norm"]):
            raise OrcacError(
                f"the loss is {logs['loss']} and its gradient {logs['grad_norm']} at step {step}",
                fix="lower learning_rate, or raise warmup",
            )
        self._metrics.write(
            step=step,
            epoch=step * self.args.num_train_epochs / self.state.max_steps,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs["grad_norm"],
            tokens=self._metrics.tokens,
        )
        now = time.monotonic()
        start, tokens = self._begun = self._begun or (now, self._metrics.tokens)
        rate = (self._metrics.tokens - tokens) / max(now - start, 1e-9)
        self._progress.update(step, f"loss {logs['loss']:.3f}  {rate:,.0f} tokens/s")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Into a checkpoint. DeepSpeed's own files have the weights too, each rank its part."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def floating_point_ops(self, inputs: dict[str, torch.Tensor | Any]) -> int:
        return 0  # nobody reads it, and it walks over all parameters at every step
