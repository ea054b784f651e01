"""Checkpoints in a stage's `work` folder.

A checkpoint counts once it contains a marker, which is written after everything else is durable, so a stage never
resumes from one that a kill or a power cut has cut short. The marker has the digest of every file, so a stage never
resumes from a damaged one either: it goes on from the checkpoint before. A marker of an older version has no digests,
and its checkpoint is taken as it is.

A checkpoint has finite weights: a stage that diverges ends before it would save them.

The files that the Trainer and DeepSpeed write with torch.save (moments, schedule, random numbers) are read back with
`weights_only`, which builds tensors and plain values and runs no code; the Trainer's pickled arguments are deleted.

Without ZeRO, every process holds the whole model, so any number of processes can resume from a checkpoint. A checkpoint
of ZeRO consists of one part per process, and fits only the ZeRO stage and the number of processes that wrote it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.progress import print_line
from orcac.store import durable
from orcac.train import distributed
from orcac.train.metrics import MetricsWriter
from orcac.train.stage import StageJob

_MARKER = "complete"
_PICKLE = "training_args.bin"
MAX_CHECKPOINTS = 2  # on disk at a time


def find_newest(work: Path) -> Path | None:
    """Return the folder of the newest complete checkpoint, None if there is none."""
    return max((marker.parent for marker in work.glob(f"checkpoint-*/{_MARKER}")), key=read_step, default=None)


def delete_unusable(work: Path, *, label: str) -> None:
    """Delete the checkpoints that a kill cut short, and those newer than the newest undamaged one, with a line each.

    Only the newest is read in full, and those before it until one is undamaged.
    """
    for folder in work.glob("checkpoint-*"):
        if not (folder / _MARKER).exists():
            shutil.rmtree(folder)
    while newest := find_newest(work):
        reason = _find_damage(newest)
        if not reason:
            return
        shutil.rmtree(newest)
        before = find_newest(work)
        then = f"goes on from {before.name}" if before else "begins anew"
        print(f"{label}  {newest.name} is damaged ({reason}): it is deleted, and the stage {then}", file=sys.stderr)


def _find_damage(checkpoint: Path) -> str:
    """Return the reason why a complete checkpoint cannot be read; "" if it is as it was written."""
    try:
        digests = json.loads((checkpoint / _MARKER).read_text(encoding="utf-8")).get("files", {})
    except (ValueError, AttributeError):
        return f"{_MARKER} is not JSON"
    for name, digest in digests.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if file_digest(path) != digest:
            return f"{name} has changed"
    return ""


def read_step(checkpoint: Path) -> int:
    """Return the number of optimizer steps that a checkpoint's name holds."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def list_steps(work: Path) -> list[int]:
    """Return the steps of the complete checkpoints, in no order."""
    return [read_step(marker.parent) for marker in work.glob(f"checkpoint-*/{_MARKER}")]


def check_resumable(checkpoint: Path, stage: StageJob) -> None:
    """Raise InputError if the processes of `stage` cannot read `checkpoint`."""
    stored = json.loads((checkpoint / _MARKER).read_text(encoding="utf-8"))
    stored.pop("files", None)
    current = _describe_layout(stage)
    if stored["zero"] != current["zero"] or (stored["zero"] and stored != current):
        words = ["{world_size} processes under ZeRO-{zero}".format(**layout) for layout in (stored, current)]
        raise InputError(
            f"{checkpoint}: a checkpoint of {words[0]} cannot be resumed by {words[1]}",
            fix="use the former hardware.train, or delete the stage's checkpoint folders: it then begins anew",
        )


def _describe_layout(stage: StageJob) -> dict[str, int]:
    return {"world_size": stage.world_size, "zero": stage.execution.zero}


def divergence(problem: str, work: Path, *, fix: str = "lower learning_rate, or raise warmup") -> InputError:
    """Return the error of a stage that diverges, which names the newest complete checkpoint in `work`."""
    newest = find_newest(work)
    place = f"the last good checkpoint is {newest}" if newest else "no checkpoint was saved before it"
    return InputError(f"{problem}; {place}", fix=fix)


def check_finite_weights(model: PreTrainedModel, stage: StageJob, *, step: int) -> None:
    """Raise InputError if a weight is NaN or infinite. All ranks call this together."""
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    parts = (getattr(parameter, "ds_tensor", parameter) for parameter in trained)  # ZeRO-3's own share
    is_broken = not all(bool(torch.isfinite(part.detach()).all()) for part in parts)
    if distributed.any_rank(is_broken):
        raise divergence(f"a weight is NaN or infinite after step {step}", stage.work)


class Saver(TrainerCallback):
    """A callback that saves a checkpoint every `save_every_seconds`, less often if saving would take more than
    `max_share` of the time, and once more before a stop.

    It raises InputError instead of saving weights that are not finite. Every rank has one. Rank 0's clock decides when
    all of them save. A stop that is requested on one rank stops all.
    """

    def __init__(self, stage: StageJob, *, max_share: float) -> None:
        self._stage, self._every, self._max_share = stage, stage.execution.save_every_seconds, max_share
        self._next = time.monotonic() + self._every
        self._started = 0.0
        self.is_stop_requested = False  # set it to end training at the next step

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        **_: object,
    ) -> None:
        self._started = time.monotonic()
        is_time = distributed.any_rank(distributed.is_first() and self._started >= self._next)
        self.is_stop_requested = distributed.any_rank(self.is_stop_requested)
        control.should_training_stop |= self.is_stop_requested
        control.should_save = self.is_stop_requested or is_time
        if control.should_save:
            check_finite_weights(model, self._stage, step=state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        folder = self._stage.work / f"checkpoint-{state.global_step}"
        distributed.barrier()  # every process has written its part
        if distributed.is_first():
            (folder / _PICKLE).unlink(missing_ok=True)
            # the marker is synced, so after a power cut it would stand beside files that were not
            lines = [self._stage.work / name for name in (MetricsWriter.FILES[0], MetricsWriter.HOLDOUT)]
            files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _MARKER)
            for path in [*files, *(line for line in lines if line.is_file())]:
                durable.share(path)
                durable.sync_file(path)
            digests = {str(path.relative_to(folder)): file_digest(path) for path in files}
            durable.write(folder / _MARKER, json.dumps(_describe_layout(self._stage) | {"files": digests}))
            if self.is_stop_requested:
                print_line(f"{self._stage.label}  stopped and saved after step {state.global_step:,}")
        now = time.monotonic()
        self._next = now + max(self._every, (1 / self._max_share - 1) * (now - self._started))
