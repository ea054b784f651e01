"""Checkpoints in `work`, and the metrics that go with them.

A checkpoint counts once a marker stands in it, written after everything else, so that one which a kill cut short
is never resumed from. A metric line is written before the checkpoint of its step; after a resume the lines of
later steps are dropped and written again, so the file ends up the same as without a kill.

What the Trainer and DeepSpeed write with torch.save (moments, schedule, random numbers) is read back by torch.load with
`weights_only`, which builds tensors and plain values and runs nothing; the Trainer's pickled arguments are thrown away.

One process, or several that each hold everything (DDP), go on from each other's checkpoints. ZeRO's are in parts, one a
process, and fit only the stage and the number of processes that wrote them.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from orcac.errors import InputError
from orcac.store import durable
from orcac.train import distributed
from orcac.train.stage import Stage

_MARKER = "complete"
_PICKLE = "training_args.bin"
_SHOW_EVERY = 5.0  # seconds
KEPT = 2  # checkpoints


def newest(work: Path) -> Path | None:
    """The newest complete checkpoint."""
    return max((marker.parent for marker in work.glob(f"checkpoint-*/{_MARKER}")), key=step_of, default=None)


def delete_torn(work: Path) -> None:
    """Delete what a kill in the middle of saving left."""
    for folder in work.glob("checkpoint-*"):
        if not (folder / _MARKER).exists():
            shutil.rmtree(folder)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps done at a checkpoint."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def check_fits(checkpoint: Path, stage: Stage) -> None:
    """Raise InputError where processes set up as `stage` says cannot read `checkpoint`."""
    made = json.loads((checkpoint / _MARKER).read_text(encoding="utf-8"))
    now = _layout(stage)
    if made["zero"] != now["zero"] or (made["zero"] and made != now):
        words = ["{world_size} processes under ZeRO-{zero}".format(**layout) for layout in (made, now)]
        raise InputError(
            f"{checkpoint}: a checkpoint of {words[0]} cannot be resumed by {words[1]}",
            fix="train on as it began, or delete that folder and its like: the stage then begins anew",
        )


def _layout(stage: Stage) -> dict[str, int]:
    return {"world_size": stage.world_size, "zero": stage.execution.zero}


class Saver(TrainerCallback):
    """Saves every so many seconds, and once more when told to stop; saving takes a tenth of the time at most.

    Every process has one: what the first one's clock says, and a stop that any was told of, holds for all.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, self._every = stage, stage.execution.save_every_seconds
        self._next = time.monotonic() + self._every
        self._started = 0.0
        self.stop = False  # set by whoever wants training to end at the next step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._started = time.monotonic()
        self.stop = distributed.any_of(self.stop)
        control.should_training_stop |= self.stop
        control.should_save = self.stop or distributed.any_of(distributed.is_first() and self._started >= self._next)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = self._stage.work / f"checkpoint-{state.global_step}"
        distributed.barrier()  # every process has written its part
        if distributed.is_first():
            (folder / _PICKLE).unlink(missing_ok=True)
            durable.write(folder / _MARKER, json.dumps(_layout(self._stage)))
        now = time.monotonic()
        self._next = now + max(self._every, 9 * (now - self._started))


class Metrics:
    """`metrics.jsonl`: one line an optimizer step, whole at any time but for its last line.

    Beside it the same figures for TensorBoard, which sees them as they come. No clock is in either (an event's time
    is its step), so that the same stage gives the same bytes. Only the first process writes.
    """

    FILES = ("metrics.jsonl", "events.out.tfevents.0")  # the name that TensorBoard looks for

    def __init__(self, folder: Path, *, resumed: int) -> None:
        """Keep the lines of the first `resumed` steps."""
        self._first = distributed.is_first()
        if not self._first:
            return
        path, events = (folder / name for name in self.FILES)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:resumed] if resumed else []
        assert len(lines) == resumed and all(line.endswith("\n") for line in lines)
        durable.write(path, "".join(lines))
        self._file = path.open("a", encoding="utf-8")
        events.unlink(missing_ok=True)
        self._shown = time.monotonic()
        self._events = RecordWriter(str(events))
        self._events.write(Event(file_version="brain.Event:2").SerializeToString())
        for line in lines:
            self._event(json.loads(line))

    def write(self, **values: float) -> None:
        """Append a line; it is with the operating system when this returns."""
        if not self._first:
            return
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()
        self._event(values)
        if time.monotonic() - self._shown >= _SHOW_EVERY:  # what a kill loses is written again from the lines
            self._shown = time.monotonic()
            self._events.flush()

    def _event(self, values: dict[str, float]) -> None:
        figures = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if name != "step"]
        step = int(values["step"])
        self._events.write(Event(wall_time=step, step=step, summary=Summary(value=figures)).SerializeToString())

    def close(self) -> None:
        if self._first:
            self._file.close()
            self._events.close()
