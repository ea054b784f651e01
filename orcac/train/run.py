"""Makes `train`: see recipe.py. A stage that one process trains is trained here and now (worker.py); of another, its
processes are started (launch.py), and waited for.
"""

from __future__ import annotations

import json
import os

from orcac.errors import InputError
from orcac.job import Job
from orcac.model.offline import offline
from orcac.train import processes
from orcac.train.launch import commands, free_port
from orcac.train.recipe import TrainExecution, TrainRecipe, TrainSummary
from orcac.train.stage import Stage


def run(job: Job[TrainRecipe, TrainExecution]) -> TrainSummary:
    """Write `model/` and `metrics.jsonl`. Raises OrcacError where a check fails or the loss is not finite."""
    stage = Stage(
        label=job.label,
        recipe=job.recipe,
        execution=job.execution,
        rows=job.input("rows"),
        start=job.input("start"),
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
    if stage.in_place:
        offline(threads=stage.threads)
        from orcac.train.worker import train

        return train(stage)

    told, summary = job.work / "stage.json", job.work / "summary.json"
    told.write_text(stage.model_dump_json(), encoding="utf-8")
    summary.unlink(missing_ok=True)
    processes.run(commands(stage, told, port=free_port(), environ=os.environ), job.work)
    left = json.loads(summary.read_text(encoding="utf-8"))
    job.packages.update(left["packages"])
    return TrainSummary.from_json(left["summary"], summary)
