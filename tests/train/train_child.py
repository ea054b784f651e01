"""Trains until it is killed at a given place, and again to the end: `python train_child.py ROOT ROWS STUDENT PLACE...`

PLACE is NAME:CALL: the first try kills itself when the function of that name is called for the CALL-th time. Each
place has its own folder under ROOT, and each try is a process of its own, forked so that torch is loaded only once.
A checkpoint is saved after every step, however long saving takes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny

from orcac.job import Job
from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.run import describe_stage
from orcac.train.stage import StageJob

RECIPE = TrainRecipe(seed=3, epochs=8, learning_rate=3e-2, schedule="cosine", batch_rows=6, weight_decay=0.1)


def job(root: Path, rows: Path, student: Path, *, recipe: TrainRecipe = RECIPE, **execution: object) -> Job:
    """Return the job of a stage that writes under `root`."""
    values = {"micro_batch_rows": 2, "save_every_seconds": 0} | execution
    return tiny.job(root, recipe, {"rows": [rows], "start": [student]}, TrainExecution(**values))


def stage(folder: Path = Path("/w"), *, recipe: TrainRecipe = RECIPE, label: str = "", **execution: object) -> StageJob:
    """Return a stage with all its paths in `folder`, for functions that train nothing."""
    return StageJob(
        label=label,
        recipe=recipe,
        execution=TrainExecution(**execution),
        rows=folder / "rows",
        start=folder / "start",
        out=folder / "out",
        work=folder,
    )


def read_contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, by their relative paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_metrics(job: Job) -> list[dict[str, float]]:
    """Return the lines of a trained stage's metrics.jsonl."""
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def read_events(job: Job) -> list[tuple[int, dict[str, float]]]:
    """Return the events of a trained stage's TensorBoard file, after the first: steps, and figures by name."""
    from tensorboardX.proto.event_pb2 import Event

    data, events = (job.out / "events.out.tfevents.0").read_bytes(), []
    while data:  # a length, its checksum, that many bytes, their checksum
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    return [(one.step, {value.tag: value.simple_value for value in one.summary.value}) for one in events[1:]]


def signal_at_call(name: str, call: int, number: int) -> None:
    """Send this process the signal `number` when the function is called for the `call`-th time."""
    import torch

    from orcac.train.checkpoints import Saver
    from orcac.train.data import PackedRows
    from orcac.train.metrics import MetricsWriter

    owner, attribute = {
        "fetch": (PackedRows, "collate"),  # of a micro-batch
        "log": (MetricsWriter, "write"),  # after a step, before its checkpoint
        "save": (torch, "save"),  # within a checkpoint
        "mark": (Saver, "on_save"),  # when a checkpoint is complete except for its marker
    }[name]
    original, calls = getattr(owner, attribute), []

    def counting(*arguments: object, **options: object) -> object:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*arguments, **options)

    setattr(owner, attribute, counting)


def _try(folder: Path, inputs: list[Path], place: str | None) -> int:
    """Train in a forked process, and return its exit code."""
    from orcac.train.worker import train

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        if place:
            name, call = place.split(":")
            signal_at_call(name, int(call), signal.SIGKILL)
        given = os.environ.get("ORCAC_TEST_RECIPE")  # another recipe, as JSON
        recipe = TrainRecipe.model_validate_json(given) if given else RECIPE
        train(describe_stage(job(folder, *inputs, recipe=recipe)), max_saving_share=1.0)
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    from orcac.model.offline import go_offline

    go_offline(threads=1)
    from orcac.train.worker import load_trainable_model

    root, *inputs = map(Path, sys.argv[1:4])
    load_trainable_model(inputs[1] / "model")  # imports in this process, so that no child has to
    for place in sys.argv[4:]:
        assert _try(root / place, inputs, place) == -signal.SIGKILL, place
        assert _try(root / place, inputs, None) == 0, place
