"""Trains one stage, in each of the processes that share it.

A retry continues from the newest complete checkpoint. On one CPU thread, its model has the same bits as that of a run
that was never stopped. On SIGTERM, which Slurm sends before it kills, a checkpoint is saved before the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer

from orcac.devices import count_cores
from orcac.errors import InputError, OrcacError
from orcac.job import packages_in_use
from orcac.model.isolation import check_separates
from orcac.model.offline import go_offline
from orcac.model.weights import raising_os_errors
from orcac.progress import Progress, print_line
from orcac.store import durable
from orcac.tokenize import rowfile
from orcac.tokenize.holdout import read_groups
from orcac.train import adapter, checks, distributed, processes, quantized, state
from orcac.train.attention import check_attention, list_maskless, read_attention, set_attention
from orcac.train.best import Best
from orcac.train.checkpoints import (
    Saver,
    check_finite_weights,
    check_resumable,
    delete_unusable,
    find_newest,
    read_step,
)
from orcac.train.data import PackedRows, join_examples, plan_order
from orcac.train.gpus import needs_mask
from orcac.train.holdout import read_holdout
from orcac.train.launch import read_slurm_rank
from orcac.train.loss import SupervisedLoss
from orcac.train.meter import Meter, find_peak
from orcac.train.metrics import MetricsWriter
from orcac.train.recipe import TrainExecution, TrainSummary
from orcac.train.stage import StageJob
from orcac.train.trainer import OnTrainBegin, PackedTrainer, build_arguments

OPTIMIZER = "optimizer.safetensors"


def train(stage: StageJob, *, max_saving_share: float = 0.1) -> TrainSummary:
    """Write `model/`, the metrics and, with `keep_optimizer`, AdamW's state to `stage.out`.

    `max_saving_share`: the largest fraction of the time that saving checkpoints takes.
    Returns the artifact's summary; its figures of speed and memory are those of the last try. Raises OrcacError if a
    check fails, InputError if the loss or a weight is not finite, SystemExit(143) after a SIGTERM.
    """
    recipe, execution = stage.recipe, stage.execution
    torch.set_num_threads(min(stage.threads, count_cores()))  # more would wait for each other, at several times the CPU
    distributed.join_group(stage)
    counts = json.loads((stage.rows / "counts.json").read_text(encoding="utf-8"))
    is_padded = counts.get("packing") == "none"
    stored = rowfile.read(stage.rows / "rows.safetensors")
    data = PackedRows(stored if recipe.isolation else join_examples(stored), is_padded=is_padded)
    checks.check_labels(data.tokens, counts["supervised_tokens"])
    order = plan_order(recipe, data.tokens)
    checks.check_warmup(recipe, order.steps)
    carried_optimizer = stage.start / OPTIMIZER
    if recipe.optimizer == "carry" and not carried_optimizer.exists():
        raise InputError(
            f"optimizer: carry, but the previous stage left no {OPTIMIZER}",
            fix=f"delete {stage.start}, which was made without it, and make it again; or start with a fresh optimizer",
        )

    # The arguments are built before the model: then ZeRO-3 loads only a part of it in each process.
    arguments = build_arguments(stage)
    if distributed.is_first():
        delete_unusable(stage.work, label=stage.label)
    distributed.barrier()
    checkpoint = find_newest(stage.work)
    if checkpoint:
        check_resumable(checkpoint, stage)
    # examples kept apart are measured each on its own
    must_separate = recipe.isolation or bool(read_groups(stage.rows))
    model = load_trainable_model(stage.frozen, is_packed=must_separate and not is_padded)
    length = data.file.labels.shape[1]
    used = read_attention(model)
    if not needs_mask(length, gpus=execution.gpus):
        maskless = list_maskless(precision=recipe.precision, micro_batch=execution.micro_batch_rows)
        used = set_attention(model, maskless)
    if distributed.is_first():
        print_line(f"{stage.label}  the model is loaded, with {used} attention; checks before the first step")
    drawn: dict[str, torch.Tensor] = {}  # the adapter as the stage starts
    if recipe.adapter:
        adapter.attach(
            model,
            recipe.adapter,
            seed=recipe.seed,
            start=stage.start if stage.base else None,
            halves_frozen=recipe.precision == "bf16" and not execution.zero,  # DeepSpeed halves all weights itself
        )
        if recipe.adapter.quantize and distributed.is_first():
            print_line(f"{stage.label}  {quantized.find_share(model):.0%} of the weights have 4 bits")
    if not execution.zero:  # DeepSpeed would leave frozen weights out of the saved model
        freeze_other_inputs(model)
    if recipe.adapter:
        drawn = {name: part.detach().clone() for name, part in state.trained_parameters(model).items()}
    loss = SupervisedLoss(model)
    checks.check_disk(stage, model)
    metrics = MetricsWriter(stage.work, resumed=read_step(checkpoint) if checkpoint else 0)
    holdout = read_holdout(
        stage, metrics, steps=order.steps, steps_per_epoch=order.steps_per_epoch, is_padded=is_padded
    )
    saver = Saver(stage, max_share=max_saving_share)
    peak = find_peak(arguments.device, recipe.precision)
    meter = Meter(stage, model, device=arguments.device, length=length, peak=peak)
    progress = Progress(label=stage.label, total=order.steps, unit="steps", path=stage.work / "progress.json")

    def prepare_first_step() -> None:
        distributed.check_topology(stage, distributed.read_topology(trainer.accelerator))
        distributed.check_engine(stage, trainer.model_wrapped)
        check_attention(model, used)
        checks.check_steps(trainer, order.steps)
        checks.check_checkpoint(stage.work, model)
        if must_separate:
            checks.check_isolation(model, stored, recipe.precision)
        if not recipe.isolation:
            checks.check_joined(model, stored)
        checks.choose_loss(trainer, loss, data.file, recipe.precision)
        checks.check_accumulation(trainer, data.file, recipe.precision)
        if distributed.is_first():
            print(f"{stage.label}  {meter.legend}", file=sys.stderr)
        if checkpoint:
            if distributed.is_first():
                print_line(f"{stage.label}  continues after step {read_step(checkpoint):,} of {order.steps:,}")
            return
        if execution.zero and recipe.precision == "bf16":
            state.set_master_weights(trainer, drawn.items() if drawn else state.read_weights(stage.start / "model"))
        if recipe.optimizer == "carry":
            state.load_optimizer(trainer, carried_optimizer)
        if holdout:
            holdout.measure(0)

    trainer = PackedTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        callbacks=[saver, OnTrainBegin(prepare_first_step), *([holdout] if holdout else [])],
        order=order,
        metrics=metrics,
        meter=meter,
        progress=progress if distributed.is_first() else None,
        holdout=holdout,
        recipe=recipe,
    )
    if holdout:
        holdout.trainer = trainer
    if holdout and recipe.keep == "best":
        holdout.best = Best(stage.work, metrics.apart, functools.partial(save_model, stage, trainer))
    with stopping_on_sigterm(saver), raising_os_errors(stage.work), explain_memory(execution, length):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics.close()
    if trainer.state.global_step < order.steps:
        raise SystemExit(128 + signal.SIGTERM)
    check_finite_weights(trainer.model, stage, step=order.steps)

    best = holdout.best if holdout else None
    with raising_os_errors(stage.out):
        save_artifact(stage, trainer, best)
    losses = read_losses(stage.work / MetricsWriter.FILES[0])
    apart = read_losses(stage.work / MetricsWriter.HOLDOUT) if holdout else [None]
    return TrainSummary(
        steps=order.steps,
        tokens=int(order.seen.real[-1]),
        supervised_tokens=int(order.seen.supervised[-1]),
        first_loss=losses[0],
        final_loss=losses[-1],
        holdout_first_loss=apart[0],
        holdout_final_loss=apart[-1],
        kept_step=best.step if best and distributed.is_first() else None,  # the others read no losses
        tokens_per_second=round(meter.tokens_per_second) or None,
        mfu=round(meter.mfu, 4) or None,
        mfu_of=meter.peak_of,
        peak_gib=round(meter.peak_gib, 2),
        processes=stage.world_size,
        trained_parameters=sum(part.numel() for part in drawn.values()) or None,
    )


def read_losses(path: Path) -> list[float]:
    """Return the loss of each line of a file of metrics."""
    return [json.loads(line)["loss"] for line in path.read_text(encoding="utf-8").splitlines()]


def save_artifact(stage: StageJob, trainer: Trainer, best: Best | None) -> None:
    """Write the artifact's files, with the model of the best step if `best` is given, else with the model as it is.

    All ranks call this together; rank 0 writes.
    """
    if distributed.is_first():
        shutil.copytree(  # keeps tokenizer and template byte for byte; the files that the model saves are replaced
            stage.frozen,
            stage.out / "model",
            ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"),
            copy_function=shutil.copyfile,
        )
        for name in (*MetricsWriter.FILES, MetricsWriter.HOLDOUT):
            if (stage.work / name).is_file():
                shutil.copyfile(stage.work / name, stage.out / name)
    distributed.barrier()
    if not best:
        save_model(stage, trainer, stage.out)
    elif distributed.is_first():
        shutil.copytree(best.folder, stage.out, dirs_exist_ok=True, copy_function=shutil.copyfile)


def save_model(stage: StageJob, trainer: Trainer, folder: Path) -> None:
    """Write the model as it is now, or its adapter, to `folder`, and AdamW's state if a next stage may carry it on.

    All ranks call this together.
    """
    config = trainer.model.config
    config.use_cache = True  # it is off only for training; generation needs it
    if stage.recipe.adapter:
        adapter.save(trainer, stage.recipe.adapter, folder / adapter.FOLDER)
    else:
        (folder / "model").mkdir(exist_ok=True)
        state.save_weights(trainer, folder / "model")
    if stage.execution.keep_optimizer:
        state.save_optimizer(trainer, folder / OPTIMIZER)
    config.use_cache = False


def load_trainable_model(folder: Path, *, is_packed: bool = True) -> PreTrainedModel:
    """Load the model of a folder with float32 weights.

    Its key-value cache is off, because with a cache packed examples would attend to each other. Raises InputError if
    rows hold several examples to separate (`is_packed`) and the model's forward pass takes no `position_ids`.
    """
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=torch.float32,
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
    )
    if is_packed:
        check_separates(model)
    model.config.use_cache = False
    return model


def freeze_other_inputs(model: PreTrainedModel) -> None:
    """Freeze the parts of a model that read images or sounds: texts give them no gradient, and so AdamW no state."""
    if model.config.get_text_config() is model.config:
        return
    parts = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    reached = {id(parameter) for part in parts if part is not None for parameter in part.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in reached)


@contextlib.contextmanager
def explain_memory(execution: TrainExecution, length: int) -> Iterator[None]:
    """Raise InputError if the block needs more memory than the GPU has: the same stage would need it again."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        rows = execution.micro_batch_rows
        raise InputError(
            f"the GPU has too little memory for {rows} row{'s' * (rows != 1)} of {length:,} tokens at once: "
            f"{str(error).splitlines()[0]}",
            fix="set `recompute: true`, a smaller `micro_batch` or a higher `zero` in hardware.train (`orcac cost` "
            "shows the memory of each), or shorten the rows: `student.max_length`",
        ) from error


@contextlib.contextmanager
def stopping_on_sigterm(saver: Saver) -> Iterator[None]:
    """Handle SIGTERM inside the block: it makes `saver` save and end training at the next step."""

    def request_stop(number: int, frame: object) -> None:
        saver.is_stop_requested = True

    before = signal.signal(signal.SIGTERM, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    """Run one rank: train the stage of the JSON file that the command line names; rank 0 writes the summary to `work`.

    Ends with os._exit, after everything is written: DeepSpeed's threads may abort an interpreter that shuts down.
    """
    processes.watch_stdin()
    stage = StageJob.model_validate_json(Path(sys.argv[1]).read_bytes())
    if "RANK" not in os.environ:
        os.environ |= read_slurm_rank(os.environ, socket.gethostname())
    rank, code = int(os.environ["RANK"]), 1
    go_offline(threads=stage.threads)
    warnings.simplefilter("ignore", FutureWarning)  # DeepSpeed calls many functions that torch will rename
    logging.getLogger("accelerate").setLevel(logging.ERROR)  # else it warns that our accumulation contradicts its own
    try:
        summary = train(stage)
        if rank == 0:
            deepspeed = {"deepspeed": metadata.version("deepspeed")} if stage.execution.zero else {}
            result = {"summary": summary.as_json(), "packages": packages_in_use() | deepspeed}
            durable.write(stage.work / "summary.json", json.dumps(result))
        distributed.barrier()
        code = 0
    except SystemExit as stopped:
        processes.record_error(stopped, rank=rank, work=stage.work)
        code = int(stopped.code or 0)
    except BaseException as error:
        processes.record_error(error, rank=rank, work=stage.work)
        if not isinstance(error, OrcacError):
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
