"""Makes a `train` node (see recipe.py). A stage of one process is trained in this process (worker.py). The processes of
any other stage are started (launch.py) and waited for (processes.py).
"""

from __future__ import annotations

import json
import math
import os
from importlib import metadata

from orcac.errors import InputError
from orcac.job import Job, packages_in_use
from orcac.model.offline import go_offline
from orcac.progress import print_line
from orcac.train import processes
from orcac.train.launch import build_commands, find_free_port
from orcac.train.recipe import TrainExecution, TrainRecipe, TrainSummary
from orcac.train.stage import StageJob


def run(job: Job[TrainRecipe, TrainExecution]) -> TrainSummary:
    """Write `model/` and `metrics.jsonl`, and return the summary.

    Raises OrcacError if a check fails or the loss is not finite.
    """
    stage = describe_stage(job)
    rows_at_once = stage.world_size * job.execution.micro_batch_rows
    if job.recipe.batch_rows % rows_at_once:
        raise InputError(
            f"micro_batch_rows {job.execution.micro_batch_rows} times {stage.world_size} processes does not divide "
            f"batch_rows {job.recipe.batch_rows}",
            fix="change one of the three, so that the product divides batch_rows",
        )
    if stage.is_in_process:
        go_offline(threads=stage.threads)
        from orcac.train.worker import train

        return _finish(job, stage, train(stage))

    stage_file, summary_file = job.work / "stage.json", job.work / "summary.json"
    stage_file.write_text(stage.model_dump_json(), encoding="utf-8")
    summary_file.unlink(missing_ok=True)
    processes.run(build_commands(stage, stage_file, port=find_free_port(), environ=os.environ), job.work)
    result = json.loads(summary_file.read_text(encoding="utf-8"))
    job.packages.update(result["packages"])
    return _finish(job, stage, TrainSummary.from_json(result["summary"], summary_file))


def _finish(job: Job[TrainRecipe, TrainExecution], stage: StageJob, summary: TrainSummary) -> TrainSummary:
    """Write the model with the adapter merged, if the stage has one, and return the summary.

    This is done here because DeepSpeed would distribute any model that a rank loads.
    """
    if stage.recipe.adapter:
        go_offline(threads=stage.threads)
        from orcac.model.weights import raising_os_errors
        from orcac.train import adapter

        with raising_os_errors(stage.out):
            adapter.merge(
                stage.frozen,
                stage.out / adapter.FOLDER,
                stage.out / "model",
                lora=stage.recipe.adapter,
                threads=stage.threads,
            )
        names = ("peft", "bitsandbytes") if stage.recipe.adapter.quantize else ("peft",)
        job.packages.update(packages_in_use() | job.packages | {name: metadata.version(name) for name in names})
    return summary


def _resolve_length(job: Job[TrainRecipe, TrainExecution]) -> TrainRecipe:
    """Return the recipe with the number of tokens or steps of a stage that is as long as others."""
    recipe = job.recipe
    if not recipe.same_epochs:
        return recipe
    counts = [json.loads((folder / "counts.json").read_text(encoding="utf-8")) for folder in job.inputs["same_as"]]
    if recipe.same_batches:
        unit, length = "steps", recipe.steps or 0
        for rows, epochs, batch in zip(counts, recipe.same_epochs, recipe.same_batches, strict=True):
            length += epochs * math.ceil(rows["rows"] / batch)
    else:
        unit, length = "tokens", recipe.tokens or 0
        length += sum(epochs * rows["tokens"] for rows, epochs in zip(counts, recipe.same_epochs, strict=True))
    print_line(f"{job.label}  {length:,} {unit}, as many as the stages that it is as long as")
    return recipe.model_copy(update={unit: length, "same_epochs": (), "same_batches": ()})


def describe_stage(job: Job[TrainRecipe, TrainExecution]) -> StageJob:
    """Return the description of a node's stage for the processes that train it."""
    return StageJob(
        label=job.label,
        recipe=_resolve_length(job),
        execution=job.execution,
        rows=job.input("rows"),
        start=job.input("start"),
        base=job.input("base") if job.inputs.get("base") else None,
        out=job.out,
        work=job.work,
    )
