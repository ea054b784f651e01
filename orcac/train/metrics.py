"""The metrics of a stage, one line per optimizer step, as JSON and for TensorBoard.

The line of a step is written before the step's checkpoint. After a resume the lines of later steps are dropped and
written again, so the files end up the same as without a kill.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from orcac.store import durable
from orcac.train import apart, distributed

_FLUSH_EVERY_S = 5.0


class MetricsWriter:
    """The writer of `metrics.jsonl`, which is complete at any time except for its last line, and of the same figures
    for TensorBoard, which shows them during training.

    Neither file contains a clock time (an event's time is its step), so the same stage gives the same bytes. Only rank
    0 writes.
    """

    FILES = ("metrics.jsonl", "events.out.tfevents.0")  # TensorBoard recognises its file by this name
    HOLDOUT = apart.FILE

    def __init__(self, folder: Path, *, resumed: int) -> None:
        """Open the files in `folder`, and keep the lines of the first `resumed` steps."""
        self._holdout = folder / self.HOLDOUT
        self.apart: list[apart.Loss] = []  # those in the file when it was opened; only rank 0 reads them
        self._is_writing = distributed.is_first()
        if not self._is_writing:
            return
        path, events = (folder / name for name in self.FILES)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:resumed] if resumed else []
        assert len(lines) == resumed and all(line.endswith("\n") for line in lines)
        durable.write(path, "".join(lines))
        self._file = path.open("a", encoding="utf-8")
        events.unlink(missing_ok=True)
        self._flushed = time.monotonic()
        self._events = RecordWriter(str(events))
        self._events.write(Event(file_version="brain.Event:2").SerializeToString())
        written = self._holdout.read_text(encoding="utf-8").splitlines() if self._holdout.is_file() else []
        kept = [line for line in written if resumed and _is_complete(line) and json.loads(line)["step"] <= resumed]
        self.apart = [apart.Loss(one["step"], one["loss"]) for one in map(json.loads, kept)]
        if written:
            durable.write(self._holdout, "".join(f"{line}\n" for line in kept))
        for line in lines:
            values = json.loads(line)
            while kept and (one := json.loads(kept[0]))["step"] <= values["step"]:
                self._write_event({"step": one["step"], **name_curves(one["loss"], one["groups"])})
                del kept[0]
            self._write_event(values)

    def write_holdout(self, *, step: int, loss: float, groups: Mapping[str, float]) -> None:
        """Append the loss on the examples that are kept apart, after `step` steps: of all, and of each group."""
        if not self._is_writing:
            return
        with self._holdout.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": loss, "groups": groups}, allow_nan=False) + "\n")
        self._write_event({"step": step, **name_curves(loss, groups)})

    def write(self, **values: float) -> None:
        """Append a line; the operating system has it when this returns."""
        if not self._is_writing:
            return
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()
        self._write_event(values)
        if time.monotonic() - self._flushed >= _FLUSH_EVERY_S:  # events that a kill loses are rebuilt from the lines
            self._flushed = time.monotonic()
            self._events.flush()

    def _write_event(self, values: Mapping[str, float]) -> None:
        figures = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if name != "step"]
        step = int(values["step"])
        self._events.write(Event(wall_time=step, step=step, summary=Summary(value=figures)).SerializeToString())

    def close(self) -> None:
        if self._is_writing:
            self._file.close()
            self._events.close()


def name_curves(loss: float, groups: Mapping[str, float]) -> dict[str, float]:
    """Return the loss on the examples that are kept apart, and that of each group, by the names of their curves."""
    return {"holdout_loss": loss, **{f"holdout_loss/{name}": value for name, value in groups.items()}}


def _is_complete(line: str) -> bool:
    """Return whether a line was written in full: a kill may have cut the last one short."""
    return line.endswith("}}")
