"""transformers' Trainer, set up for packed rows: its arguments, and the methods that differ.

For the Trainer a stage is one epoch: data.py chooses the rows of each step, so the loader is a plain one that
accelerate neither shards nor shuffles. loss.py computes the loss.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import is_wandb_available
from transformers.utils import is_liger_kernel_available

from orcac.progress import Progress
from orcac.train import adapter, distributed
from orcac.train.checkpoints import MAX_CHECKPOINTS, divergence
from orcac.train.data import PackedRows, RankSampler, RowOrder
from orcac.train.holdout import Holdout
from orcac.train.launch import build_deepspeed_config
from orcac.train.meter import Meter
from orcac.train.metrics import MetricsWriter
from orcac.train.recipe import TrainRecipe
from orcac.train.schedule import compute_rate
from orcac.train.stage import StageJob


def build_arguments(stage: StageJob) -> TrainingArguments:
    """Return the Trainer's arguments. Only `checkpoints.Saver` requests checkpoints; PackedTrainer has the schedule.

    On a GPU, Liger's kernels are used if they are installed; the loss stays ours. Metrics go to Weights & Biases if it
    is installed and WANDB_PROJECT names a project; that package finds its key itself.
    """
    recipe, execution = stage.recipe, stage.execution
    arguments = TrainingArguments(
        output_dir=str(stage.work),
        seed=recipe.seed,
        num_train_epochs=1,
        per_device_train_batch_size=execution.micro_batch_rows,
        gradient_accumulation_steps=stage.accumulation,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=recipe.precision == "bf16",
        use_cpu=execution.gpus == 0,
        deepspeed=build_deepspeed_config(stage) if execution.zero else None,
        # accelerate must use the group that `join_group` formed, and not form its own
        accelerator_config={"use_configured_state": not stage.is_in_process},
        ddp_find_unused_parameters=False,
        activation_checkpointing=execution.recompute,
        activation_checkpointing_kwargs={"use_reentrant": False} if execution.recompute else None,
        torch_compile=execution.compile,
        use_liger_kernel=execution.gpus > 0 and is_liger_kernel_available(),
        liger_kernel_config={"fused_linear_cross_entropy": False, "cross_entropy": False},
        save_strategy="no",
        save_total_limit=MAX_CHECKPOINTS,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="wandb" if os.environ.get("WANDB_PROJECT") and is_wandb_available() else "none",
        run_name=stage.label,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=execution.gpus > 0,
    )
    arguments._n_gpu = execution.gpus and 1  # per process; the Trainer would spread over all GPUs that it sees
    return arguments


class OnTrainBegin(TrainerCallback):
    """A callback that runs `action` before the first step of this try, when the model is on its device and wrapped."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_train_begin(self, *_: object, **__: object) -> None:
        self._action()


class PackedTrainer(Trainer):
    """A Trainer that reads the rows in our order, writes each step's metrics, and counts no operations."""

    lr_scheduler: LambdaLR | None

    def __init__(
        self,
        *,
        order: RowOrder,
        metrics: MetricsWriter,
        meter: Meter,
        progress: Progress | None,
        holdout: Holdout | None = None,
        recipe: TrainRecipe,
        **arguments: object,
    ) -> None:
        """`arguments` are those of Trainer."""
        super().__init__(**arguments)
        self.remove_callback(PrinterCallback)
        self._order, self._metrics, self._meter, self._progress = order, metrics, meter, progress
        self._holdout, self._recipe = holdout, recipe

    def get_train_dataloader(self) -> DataLoader[int]:
        assert isinstance(self.train_dataset, PackedRows)
        sampler = RankSampler(
            self._order,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            micro_batch=self.args.per_device_train_batch_size,
            lengths=self.train_dataset.lengths,
        )
        pin = self.args.dataloader_pin_memory
        return DataLoader(
            self.train_dataset, batch_sampler=sampler, collate_fn=self.train_dataset.collate, pin_memory=pin
        )

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """Return the learning rate schedule. In those of transformers, the first step of a warmup has a rate of 0."""
        if self.lr_scheduler is None:
            rate = functools.partial(compute_rate, recipe=self._recipe, steps=num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, rate)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the metrics of a step and show progress; the Trainer calls it after each step, and once at the end with
        a summary that is not used.

        `Trainer.log` would keep every line in memory and in every checkpoint. Raises InputError if the loss or the norm
        of the gradient is not finite: the same stage would diverge again at the same step.
        """
        if "loss" not in logs:
            return
        step = self.state.global_step
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["grad_norm"]):
            problem = f"the loss is {logs['loss']} and its gradient's norm {logs['grad_norm']} at step {step}"
            raise divergence(problem, Path(self.args.output_dir))
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
        apart = ""
        if self._holdout and (newest := self._holdout.newest):
            apart = f"  kept apart {newest.loss:.3f} (step {newest.step:,})"
        self.callback_handler.on_log(self.args, self.state, self.control, logs)
        if self._progress:
            self._progress.update(step, f"loss {logs['loss']:.3f}{apart}  {self._meter}", usd=self._meter.usd)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights into a checkpoint, unless DeepSpeed's own files contain them, a part in each rank's."""
        if self.is_deepspeed_enabled:
            return
        if not self._recipe.adapter:
            super().save_model(output_dir, _internal_call)
        elif distributed.is_first():
            assert output_dir
            Path(output_dir).mkdir(exist_ok=True)
            adapter.save_checkpoint(self.model, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        if self._recipe.adapter:
            adapter.load_checkpoint(self.model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def floating_point_ops(self, inputs: dict[str, torch.Tensor]) -> int:
        return 0  # unused, and counting would walk over all parameters at every step
