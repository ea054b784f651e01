"""Trains one stage, in each of the processes that share it.

A retry goes on from the newest complete checkpoint and ends, on one CPU thread, with the same bits as a run that
was never stopped. SIGTERM (what Slurm sends first) saves a checkpoint before the process ends.
"""

from __future__ import annotations

import contextlib
import inspect
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
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from orcac.errors import InputError, OrcacError
from orcac.job import packages_in_use
from orcac.model.offline import offline
from orcac.model.weights import os_errors
from orcac.progress import Progress
from orcac.store import durable
from orcac.tokenize import rowfile
from orcac.train import checks, distributed, processes
from orcac.train.checkpoints import Metrics, Saver, check_fits, delete_torn, newest, step_of
from orcac.train.data import Rows, count_tokens, plan_order
from orcac.train.launch import from_slurm
from orcac.train.loss import SupervisedLoss
from orcac.train.meter import Meter
from orcac.train.recipe import TrainSummary
from orcac.train.stage import Stage
from orcac.train.trainer import AtStart, PackedTrainer, settings

OPTIMIZER = "optimizer.safetensors"


def train(stage: Stage) -> TrainSummary:
    """Write `model/`, the metrics and, where it is to be kept, the optimizer's state to `stage.out`.

    Returns the artifact's summary; its figures of speed and memory are of the last try. Raises OrcacError
    where a check fails or the loss is not finite, SystemExit(143) after a SIGTERM.
    """
    recipe, execution = stage.recipe, stage.execution
    torch.set_num_threads(stage.threads)
    distributed.join(stage)
    counts = json.loads((stage.rows / "counts.json").read_text(encoding="utf-8"))
    data = Rows(rowfile.read(stage.rows / "rows.safetensors"))
    tokens = count_tokens(data.file.labels)
    checks.check_labels(tokens, counts["supervised_tokens"])
    order = plan_order(recipe, tokens)
    carried = stage.start / OPTIMIZER
    if recipe.optimizer == "carry" and not carried.exists():
        raise InputError(
            f"optimizer: carry, but the stage before left no {OPTIMIZER}",
            fix=f"delete {stage.start}, which was made without it, and make it again; or start with a fresh optimizer",
        )

    # before the model, of which ZeRO-3 then loads a part in each process
    arguments = settings(stage, steps=order.steps)
    checkpoint = newest(stage.work)
    if checkpoint:
        check_fits(checkpoint, stage)
    if distributed.is_first():
        delete_torn(stage.work)
    model = load_model(stage.start / "model")
    loss = SupervisedLoss(model)
    checks.check_disk(stage, model)
    metrics = Metrics(stage.work, resumed=step_of(checkpoint) if checkpoint else 0)
    saver = Saver(stage)
    meter = Meter(stage, model, device=arguments.device, length=data.file.labels.shape[1])
    progress = Progress(label=stage.label, total=order.steps, unit="steps", path=stage.work / "progress.json")

    def begin() -> None:
        distributed.check_group(stage, distributed.group_of(trainer.accelerator))
        distributed.check_engine(stage, trainer.model_wrapped)
        checks.check_steps(trainer, order.steps)
        checks.check_checkpoint(stage.work, model)
        checks.check_isolation(model, data.file, recipe.precision)
        checks.choose_loss(trainer, loss, data.file, recipe.precision)
        checks.check_accumulation(trainer, data.file, recipe.precision)
        if distributed.is_first():
            print(f"{stage.label}  {meter.legend}", file=sys.stderr)
        if checkpoint:
            return
        if execution.zero and recipe.precision == "bf16":
            distributed.master_weights(trainer, stage.start / "model")
        if recipe.optimizer == "carry":
            distributed.load_optimizer(trainer, carried)

    trainer = PackedTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        callbacks=[saver, AtStart(begin)],
        order=order,
        metrics=metrics,
        meter=meter,
        progress=progress if distributed.is_first() else None,
    )
    with stopping(saver), os_errors(stage.work):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics.close()
    if trainer.state.global_step < order.steps:
        raise SystemExit(128 + signal.SIGTERM)

    with os_errors(stage.out):
        save(stage, trainer)
    losses = [json.loads(line)["loss"] for line in (stage.work / "metrics.jsonl").read_text("utf-8").splitlines()]
    return TrainSummary(
        steps=order.steps,
        tokens=int(order.seen.real[-1]),
        supervised_tokens=int(order.seen.supervised[-1]),
        first_loss=losses[0],
        final_loss=losses[-1],
        tokens_per_second=round(meter.tokens_per_second) or None,
        mfu=round(meter.mfu, 4) or None,
        mfu_of=meter.peak_of,
        peak_gib=round(meter.peak_gib, 2),
        processes=stage.world_size,
    )


def save(stage: Stage, trainer: Any) -> None:
    """What the artifact holds. All processes take part; the first one writes."""
    if distributed.is_first():
        shutil.copytree(  # tokenizer and template byte for byte; what the model saves itself replaces the rest
            stage.start / "model",
            stage.out / "model",
            ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"),
            copy_function=shutil.copyfile,
        )
        for name in Metrics.FILES:
            shutil.copyfile(stage.work / name, stage.out / name)
    distributed.barrier()
    trainer.model.config.use_cache = True  # off for training alone; generation wants it
    distributed.save_weights(trainer, stage.out / "model")
    if stage.execution.keep_optimizer:
        distributed.save_optimizer(trainer, stage.out / OPTIMIZER)


def load_model(folder: Path) -> Any:
    """The model to train: float32 weights, and no cache, with which packed examples would see each other.

    Raises InputError where it is of a kind that knows no positions.
    """
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=torch.float32,
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
    )
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise InputError(
            f"{type(model).__name__} takes no position_ids: it cannot tell examples apart that share a row",
            fix="start from another model",
        )
    model.config.use_cache = False
    return model


@contextlib.contextmanager
def stopping(saver: Any) -> Iterator[None]:
    """While it lasts, SIGTERM asks `saver` to save and end training at the next step."""

    def handle(number: int, frame: object) -> None:
        saver.stop = True

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    """One rank: train the stage of the file that the command line names; rank 0 leaves the summary in `work`.

    Ends with os._exit, after everything is written: DeepSpeed's threads may abort a process that takes itself apart.
    """
    processes.obey_starter()
    stage = Stage.model_validate_json(Path(sys.argv[1]).read_bytes())
    if "RANK" not in os.environ:
        os.environ |= from_slurm(os.environ, socket.gethostname())
    rank, code = int(os.environ["RANK"]), 1
    offline(threads=stage.threads)
    warnings.simplefilter("ignore", FutureWarning)  # DeepSpeed calls much that torch will rename
    logging.getLogger("accelerate").setLevel(logging.ERROR)  # it takes our accumulation for a contradiction
    try:
        summary = train(stage)
        if rank == 0:
            deepspeed = {"deepspeed": metadata.version("deepspeed")} if stage.execution.zero else {}
            left = {"summary": summary.as_json(), "packages": packages_in_use() | deepspeed}
            durable.write(stage.work / "summary.json", json.dumps(left))
        distributed.barrier()
        code = 0
    except SystemExit as stopped:
        processes.tell(stopped, rank=rank, work=stage.work)
        code = int(stopped.code or 0)
    except BaseException as error:
        processes.tell(error, rank=rank, work=stage.work)
        if not isinstance(error, OrcacError):
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
