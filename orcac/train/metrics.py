"""The metrics of a stage, one line per optimizer step, as JSON and for TensorBoard.

The line of a step is written before the step's checkpoint. After a resume the lines of later steps are dropped and
written again, so the files end up the same as without a kill.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from orcac.store import durable
from orcac.train import distributed

_FLUSH_EVERY_S = 5.0


class MetricsWriter:
    """The writer of `metrics.jsonl`, which is complete at any time except for its last line, and of the same figures
    for TensorBoard, which shows them during training.

    Neither file contains a clock time (an event's time is its step), so the same stage gives the same bytes. Only rank
    0 writes.
    """

    FILES = ("metrics.jsonl", "events.out.tfevents.0")  # TensorBoard recognises its file by this name

    def __init__(self, folder: Path, *, resumed: int) -> None:
        """Open the files in `folder`, and keep the lines of the first `resumed` steps."""
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
        for line in lines:
            self._write_event(json.loads(line))

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

    def _write_event(self, values: dict[str, float]) -> None:
        figures = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if name != "step"]
        step = int(values["step"])
        self._events.write(Event(wall_time=step, step=step, summary=Summary(value=figures)).SerializeToString())

    def close(self) -> None:
        if self._is_writing:
            self._file.close()
            self._events.close()
