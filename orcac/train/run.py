"""Makes `train`: see recipe.py. A stage that one process trains is trained here and now (worker.py)."""

from __future__ import annotations

from orcac.chat.offline import offline
from orcac.errors import InputError
from orcac.job import Job, Summary
from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.stage import Stage


def run(job: Job[TrainRecipe, TrainExecution]) -> Summary:
    """Write `model/` and `metrics.jsonl`. Raises OrcacError where a check fails or the loss is not finite."""
    stage = Stage(
        label=job.label,
        recipe=job.recipe,
        execution=job.execution,
        rows=job.one("rows"),
        start=job.one("start"),
        out=job.out,
        work=job.work,
    )
    at_once = stage.world_size * job.execution.micro_batch_rows
    if job.recipe.batch_rows % at_once:
        raise InputError(
            f"micro_batch_rows {job.execution.micro_batch_rows} times {stage.world_size} processes does not divide "
            f"batch_rows {job.recipe.batch_rows}",
            fix="give a divisor",
        )
    offline(threads=job.execution.threads)
    from orcac.train.worker import train

    return train(stage)
