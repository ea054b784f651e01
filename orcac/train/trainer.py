"""transformers' Trainer, set up for packed rows: what is turned off, and the methods that differ.

To it a stage is one epoch: which rows a step takes is data.py's, and so the loader is a plain one that accelerate
neither shards nor shuffles. The loss is loss.py's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import is_wandb_available
from transformers.utils import is_liger_kernel_available

from orcac.errors import OrcacError
from orcac.progress import Progress
from orcac.train.checkpoints import KEPT, Metrics
from orcac.train.data import Order, Rows, Share
from orcac.train.launch import deepspeed_config
from orcac.train.meter import Meter
from orcac.train.stage import Stage

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def settings(stage: Stage, *, steps: int) -> TrainingArguments:
    """The Trainer's arguments. Checkpoints are asked for by `checkpoints.Saver`, and by nobody else.

    Liger's kernels are used where they are installed, on a GPU; the loss stays ours. So are Weights & Biases, where
    WANDB_PROJECT names a project: the key is that package's own affair.
    """
    recipe, execution = stage.recipe, stage.execution
    return TrainingArguments(
        output_dir=str(stage.work),
        seed=recipe.seed,
        num_train_epochs=1,
        per_device_train_batch_size=execution.micro_batch_rows,
        gradient_accumulation_steps=stage.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_SCHEDULES[recipe.schedule],
        warmup_steps=math.ceil(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=recipe.precision == "bf16",
        use_cpu=execution.gpus == 0,
        deepspeed=deepspeed_config(stage) if execution.zero else None,
        accelerator_config={"use_configured_state": not stage.in_place},  # the group that `distributed.join` formed
        ddp_find_unused_parameters=False,
        activation_checkpointing=execution.recompute,
        activation_checkpointing_kwargs={"use_reentrant": False} if execution.recompute else None,
        torch_compile=execution.compile,
        use_liger_kernel=execution.gpus > 0 and is_liger_kernel_available(),
        liger_kernel_config={"fused_linear_cross_entropy": False, "cross_entropy": False},
        save_strategy="no",
        save_total_limit=KEPT,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="wandb" if os.environ.get("WANDB_PROJECT") and is_wandb_available() else "none",
        run_name=stage.label,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=execution.gpus > 0,
    )


class AtStart(TrainerCallback):
    """Does something once all is where and as it will be trained, before the first step of this try."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._action()


class PackedTrainer(Trainer):
    """Reads the rows in our order, writes each step's metrics, and leaves out the operation count."""

    def __init__(
        self, *, order: Order, metrics: Metrics, meter: Meter, progress: Progress | None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.remove_callback(PrinterCallback)
        self._order, self._metrics, self._meter, self._progress = order, metrics, meter, progress

    def get_train_dataloader(self) -> DataLoader[int]:
        assert isinstance(self.train_dataset, Rows)
        share = Share(
            self._order,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            micro_batch=self.args.per_device_train_batch_size,
        )
        pin = self.args.dataloader_pin_memory
        return DataLoader(
            self.train_dataset, batch_sampler=share, collate_fn=self.train_dataset.collate, pin_memory=pin
        )

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
        tokens = int(self._order.seen.real[step - 1])
        self._metrics.write(
            step=step,
            epoch=step / self._order.steps_per_epoch,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs["grad_norm"],
            tokens=tokens,
        )
        self._meter.update(tokens)
        logs = logs | {"tokens": tokens, "tokens_per_second": self._meter.tokens_per_second, "mfu": self._meter.mfu}
        self.callback_handler.on_log(self.args, self.state, self.control, logs)
        if self._progress:
            self._progress.update(step, f"loss {logs['loss']:.3f}  {self._meter}", usd=self._meter.usd)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Into a checkpoint. DeepSpeed's own files have the weights too, each rank its part."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def floating_point_ops(self, inputs: dict[str, torch.Tensor | Any]) -> int:
        return 0  # nobody reads it, and it walks over all parameters at every step
