"""Trains one stage, in each of the processes that share it.

A retry goes on from the newest complete checkpoint and ends, on one CPU thread, with the same bits as a run that
was never stopped. SIGTERM (what Slurm sends first) saves a checkpoint before the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from orcac.chat.offline import offline
from orcac.errors import OrcacError
from orcac.job import Summary
from orcac.progress import Progress
from orcac.student.weights import os_errors
from orcac.tokenize import rowfile
from orcac.train import distributed, processes
from orcac.train.checkpoints import Metrics, Saver, newest, step_of
from orcac.train.checks import check_isolation, check_steps, count_supervised
from orcac.train.data import Rows
from orcac.train.launch import from_slurm
from orcac.train.stage import Stage
from orcac.train.trainer import PackedTrainer, planned_steps, settings


def train(stage: Stage) -> Summary:
    """Write `model/` and `metrics.jsonl` to `stage.out`; returns the artifact's summary.

    Raises OrcacError where a check fails or the loss is not finite, SystemExit(143) after a SIGTERM.
    """
    recipe, execution = stage.recipe, stage.execution
    torch.set_num_threads(stage.threads)
    distributed.join(stage)
    folder = stage.rows
    counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
    data = Rows(rowfile.read(folder / "rows.safetensors"))
    steps = planned_steps(recipe, len(data))
    supervised = count_supervised(data.file, counts["supervised_tokens"])
    args = settings(stage, steps=steps)  # before the model: with ZeRO-3 each rank then loads its part alone
    model = load_model(stage.start / "model")

    checkpoint = newest(stage.work)
    metrics_file = stage.work / "metrics.jsonl"
    metrics = Metrics(metrics_file, resumed=step_of(checkpoint) if checkpoint else 0)
    saver = Saver(stage.work, every=execution.save_every_seconds)
    trainer = PackedTrainer(
        model=model,
        args=args,
        train_dataset=data,
        data_collator=data.collate,
        callbacks=[saver],
        metrics=metrics,
        progress=Progress(label=stage.label, total=steps, unit="steps", path=stage.work / "progress.json"),
    )
    check_steps(trainer, steps)
    trainer.add_callback(Beginning(stage, trainer, resumed=checkpoint is not None))
    if execution.zero < 3:
        check_isolation(model, data.file)  # after the Trainer has put it where it will be trained
    with stopping(saver), os_errors(stage.work):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics.close()
    if trainer.state.global_step < steps:
        raise SystemExit(128 + signal.SIGTERM)

    model.config.use_cache = True  # off for training alone; generation wants it
    if distributed.rank() == 0:
        shutil.copytree(  # tokenizer and template byte for byte; what the model saves itself replaces the rest
            stage.start / "model",
            stage.out / "model",
            ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"),
            copy_function=shutil.copyfile,
        )
        shutil.copyfile(metrics_file, stage.out / "metrics.jsonl")
    distributed.barrier()
    with os_errors(stage.out):
        distributed.save_weights(trainer, stage.out / "model")
        if execution.keep_optimizer:
            distributed.save_optimizer(trainer, stage.out / "optimizer.safetensors")
    losses = [json.loads(line)["loss"] for line in metrics_file.read_text(encoding="utf-8").splitlines()]
    return {
        "steps": steps,
        "tokens": metrics.tokens,
        "supervised_tokens": supervised * (recipe.epochs or 1),
        "first_loss": losses[0],
        "final_loss": losses[-1],
    }


class Beginning(TrainerCallback):
    """What can be done only once the optimizer, and DeepSpeed's engine, are there."""

    def __init__(self, stage: Stage, trainer: Any, *, resumed: bool) -> None:
        self._stage, self._trainer, self._resumed = stage, trainer, resumed

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        stage, trainer = self._stage, self._trainer
        distributed.check_engine(stage, trainer.model_wrapped)
        if stage.execution.zero == 3:
            check_isolation(trainer.model, trainer.train_dataset.file)
        if self._resumed:
            return
        if stage.execution.zero and stage.recipe.precision == "bf16":
            distributed.master_weights(trainer, stage.start / "model")


def load_model(folder: Path) -> Any:
    """The model to train: float32 weights, and no cache, with which packed examples would see each other."""
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=torch.float32,
        attn_implementation="sdpa",
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
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
    processes.end_with_starter()
    stage = Stage.model_validate_json(Path(sys.argv[1]).read_bytes())
    if "RANK" not in os.environ:
        os.environ |= from_slurm(os.environ, socket.gethostname())
    rank, code = int(os.environ["RANK"]), 1
    offline(threads=stage.threads)
    try:
        summary = train(stage)
        if rank == 0:
            part = stage.work / "summary.json.part"
            part.write_text(json.dumps(summary), encoding="utf-8")
            part.replace(stage.work / "summary.json")
        distributed.barrier()
        code = 0
    except SystemExit as stopped:
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
