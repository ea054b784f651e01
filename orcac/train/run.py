"""Makes `train`: see recipe.py. One process, on the CPU or one GPU.

A retry goes on from the newest complete checkpoint and ends, on one CPU thread, with the same bits as a run that
was never stopped. SIGTERM (what Slurm sends first) saves a checkpoint before the process ends.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orcac.chat.offline import offline
from orcac.errors import InputError
from orcac.job import Job, Summary
from orcac.student.weights import os_errors
from orcac.tokenize import rowfile
from orcac.train.recipe import TrainExecution, TrainRecipe


def run(job: Job[TrainRecipe, TrainExecution]) -> Summary:
    """Write `model/` and `metrics.jsonl`. Raises OrcacError where a check fails or the loss is not finite."""
    recipe, execution = job.recipe, job.execution
    if recipe.batch_rows % execution.micro_batch_rows:
        raise InputError(
            f"micro_batch_rows {execution.micro_batch_rows} does not divide batch_rows {recipe.batch_rows}",
            fix="give a divisor",
        )
    offline(threads=execution.threads)
    import torch

    from orcac.train.checkpoints import Metrics, Saver, newest, step_of
    from orcac.train.checks import check_isolation, check_steps, count_supervised
    from orcac.train.data import Rows
    from orcac.train.trainer import PackedTrainer, planned_steps, settings

    torch.set_num_threads(execution.threads)
    folder = job.one("rows")
    counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
    data = Rows(rowfile.read(folder / "rows.safetensors"))
    steps = planned_steps(recipe, len(data))
    supervised = count_supervised(data.file, counts["supervised_tokens"])
    model = load_model(job.one("start") / "model")

    checkpoint = newest(job.work)
    metrics_file = job.work / "metrics.jsonl"
    metrics = Metrics(metrics_file, resumed=step_of(checkpoint) if checkpoint else 0)
    saver = Saver(job.work, every=execution.save_every_seconds)
    trainer = PackedTrainer(
        model=model,
        args=settings(recipe, execution, work=job.work, steps=steps),
        train_dataset=data,
        data_collator=data.collate,
        callbacks=[saver],
        metrics=metrics,
        progress=job.progress(steps, "steps"),
    )
    check_steps(trainer, steps)
    check_isolation(model, data.file)  # after the Trainer has put it where it will be trained
    with stopping(saver), os_errors(job.work):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics.close()
    if trainer.state.global_step < steps:
        raise SystemExit(128 + signal.SIGTERM)

    model.config.use_cache = True  # off for training alone; generation wants it
    shutil.copytree(  # tokenizer and template byte for byte; what the model saves itself replaces the rest
        job.one("start") / "model",
        job.out / "model",
        ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"),
        copy_function=shutil.copyfile,
    )
    with os_errors(job.out):
        model.save_pretrained(job.out / "model")
    shutil.copyfile(metrics_file, job.out / "metrics.jsonl")
    losses = [json.loads(line)["loss"] for line in metrics_file.read_text(encoding="utf-8").splitlines()]
    return {
        "steps": steps,
        "tokens": metrics.tokens,
        "supervised_tokens": supervised * recipe.epochs,
        "first_loss": losses[0],
        "final_loss": losses[-1],
    }


def load_model(folder: Path) -> Any:
    """The model to train: float32 weights, and no cache, with which packed examples would see each other."""
    import torch
    from transformers import AutoModelForCausalLM

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
