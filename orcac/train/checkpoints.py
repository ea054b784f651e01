"""Checkpoints in `work`, and the metrics that go with them.

A checkpoint counts once a marker stands in it, written after everything else, so that one which a kill cut short
is never resumed from. A metric line is written before the checkpoint of its step; after a resume the lines of
later steps are dropped and written again, so the file ends up the same as without a kill.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_MARKER = "complete"
KEPT = 2  # checkpoints


def newest(work: Path) -> Path | None:
    """The newest complete checkpoint; those that are not complete are deleted."""
    complete = []
    for folder in work.glob("checkpoint-*"):
        if (folder / _MARKER).exists():
            complete.append(folder)
        else:
            shutil.rmtree(folder)
    return max(complete, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps done at a checkpoint."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


class Saver(TrainerCallback):
    """Saves every so many seconds, and once more when told to stop; saving takes a tenth of the time at most."""

    def __init__(self, work: Path, *, every: float) -> None:
        self._work, self._every = work, every
        self._next = time.monotonic() + every
        self._started = 0.0
        self.stop = False  # set by whoever wants training to end at the next step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._started = time.monotonic()
        control.should_training_stop |= self.stop
        control.should_save = self.stop or self._started >= self._next

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        (self._work / f"checkpoint-{state.global_step}" / _MARKER).touch()
        now = time.monotonic()
        self._next = now + max(self._every, 9 * (now - self._started))


class Metrics:
    """`metrics.jsonl`: one line an optimizer step, whole at any time but for its last line."""

    def __init__(self, path: Path, *, resumed: int) -> None:
        """Keep the lines of the first `resumed` steps."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:resumed] if resumed else []
        assert len(lines) == resumed and all(line.endswith("\n") for line in lines)
        part = path.with_name(path.name + ".part")
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(path)
        self.tokens = int(json.loads(lines[-1])["tokens"]) if lines else 0  # seen so far, padding left out
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: float) -> None:
        """Append a line; it is with the operating system when this returns."""
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
