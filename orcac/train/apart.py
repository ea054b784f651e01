"""The losses on the examples that a finished stage kept apart, read from its artifact and put in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = "holdout.jsonl"


class Loss(NamedTuple):
    """The loss on the examples kept apart after `step` optimizer steps."""

    step: int
    loss: float


def count_apart(examples: int) -> str:
    """Return a number of examples kept apart in words."""
    return f"{examples:,} example{'s' * (examples != 1)} kept apart"


def read_apart(folder: Path) -> list[Loss]:
    """Return the losses of a train artifact, first to last; [] if its stage kept nothing apart."""
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Loss(one["step"], one["loss"]) for one in map(json.loads, lines)]


def describe_apart(losses: Sequence[Loss], kept_step: int | None = None) -> str:
    """Return the losses in words: `6.674 before, 0.469 lowest (step 529 of 1,410), 0.599 after`.

    `kept_step`: the step whose weights the stage left, if it left the best ones.
    """
    first, last, lowest = losses[0], losses[-1], min(losses, key=lambda one: one.loss)
    middle = ""
    if lowest.loss < min(first.loss, last.loss):
        middle = f", {lowest.loss:.3f} lowest (step {lowest.step:,} of {last.step:,})"
    never = "" if lowest.loss < first.loss else ": it never fell"
    kept = f"; the weights are those of step {kept_step:,}" if kept_step else ""
    return f"{first.loss:.3f} before{middle}, {last.loss:.3f} after{never}{kept}"
