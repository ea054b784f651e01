"""The number of optimizer steps that packed rows give a stage, and the settings that give it more.

A stage of few steps learns next to nothing, and its first steps are spent on the warmup. A batch of more rows than
there are is filled with padding, so each step sees all data. Both are warned of, before the rows exist from an
estimate and afterwards from their count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from orcac.recipe import Frozen

FEWEST = 50  # optimizer steps of a stage that gets no warning
MOST_EPOCHS = 10  # of a setting that is proposed


class Schedule(Frozen):
    """The length and the batch of a stage, as its spec states them."""

    stage: str
    batch_rows: int
    epochs: int | None = None  # exactly one of epochs, tokens and steps is set
    tokens: int | None = None
    steps: int | None = None
    at_once: int = 1  # rows that all processes take at once; a batch is a multiple of it
    is_in_tokens: bool = False  # the spec gives the batch in tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The rows of a stage, counted or estimated."""

    rows: float
    fill: float  # fraction of the slots that hold tokens
    length: int  # slots of a row
    is_exact: bool
    room: int | None = None  # slots that hold each example, or nearly each if estimated; None if unknown

    @property
    def tokens(self) -> float:
        """Tokens of all rows, without padding."""
        return self.rows * self.fill * self.length


class Setting(NamedTuple):
    """A change of a stage, as its keys in the spec, and the steps that it gives."""

    text: str
    steps: int


def count_steps(schedule: Schedule, packed: Packed) -> int:
    """Return the number of optimizer steps; of a stage given in tokens, up to the luck of its order."""
    return schedule.steps or _count(packed, schedule.batch_rows, epochs=schedule.epochs, tokens=schedule.tokens)


def _count(packed: Packed, batch_rows: int, *, epochs: float | None, tokens: int | None) -> int:
    each = math.ceil(max(packed.rows, 1) / batch_rows)  # steps of an epoch
    if epochs is not None:
        return math.ceil(each * epochs)
    assert tokens is not None
    return max(1, math.ceil(tokens / max(packed.tokens, 1) * each))


def describe_steps(schedule: Schedule, packed: Packed) -> str:
    """Return the steps with their origin: `about 63 steps: about 126 rows, 4 rows a step, 2 epochs`."""
    about = "" if packed.is_exact else "about "
    steps, rows = count_steps(schedule, packed), max(round(packed.rows), 1)
    text = f"{_counted(steps, 'step')}: {about}{_counted(rows, 'row')}, {_counted(schedule.batch_rows, 'row')} a step"
    if schedule.steps:
        return text
    length = f"{schedule.tokens:,} tokens" if schedule.tokens else _counted(schedule.epochs or 0, "epoch")
    return f"{about}{text}, {length}"


def describe_shortage(schedule: Schedule, packed: Packed) -> str:
    """Return a warning if a stage has few steps, or more rows in a batch than there are; "" if it has neither."""
    steps, rows = count_steps(schedule, packed), max(round(packed.rows), 1)
    if steps >= FEWEST and schedule.batch_rows <= rows:
        return ""
    settings = list_settings(schedule, packed)
    if shorter := _shorter_rows(schedule, packed):
        settings.append(shorter)
    found = " or ".join(f"`{one.text}` ({one.steps:,} steps)" for one in settings)
    fix = f"write {found}" if found else "collect more answers, or train on more of them"
    if schedule.batch_rows > rows:
        problem = "a batch has more rows than there are"
    else:
        problem = f"fewer than {FEWEST} optimizer steps"
    return f"stage `{schedule.stage}` learns little: {problem} ({describe_steps(schedule, packed)}); {fix}"


def list_settings(schedule: Schedule, packed: Packed) -> list[Setting]:
    """Return changes of a stage that each give FEWEST steps or more, with at least two batches of rows an epoch.

    Of the batches this is the largest; of the lengths the shortest, and none above MOST_EPOCHS.
    """
    return [*_smaller_batches(schedule, packed), *_longer_stages(schedule, packed)]


def _smaller_batches(schedule: Schedule, packed: Packed) -> Iterator[Setting]:
    """Yield the largest batch that suffices; the smallest one with more epochs if no batch does."""
    sizes = [schedule.at_once]
    while sizes[-1] * 2 <= schedule.batch_rows:
        sizes.append(sizes[-1] * 2)
    for size in reversed(sizes):
        steps = schedule.steps or _count(packed, size, epochs=schedule.epochs, tokens=schedule.tokens)
        if steps >= FEWEST and size * 2 <= packed.rows:
            yield Setting(_batch_text(schedule, packed, size), steps)
            return
    size = schedule.at_once
    if schedule.epochs and size < schedule.batch_rows and size * 2 <= packed.rows:
        epochs = math.ceil(FEWEST / math.ceil(packed.rows / size))
        if epochs <= MOST_EPOCHS:
            text = f"{_batch_text(schedule, packed, size)}, epochs: {epochs}"
            yield Setting(text, _count(packed, size, epochs=epochs, tokens=None))


def _longer_stages(schedule: Schedule, packed: Packed) -> Iterator[Setting]:
    """Yield the shortest length that suffices with the batch as it is."""
    if schedule.batch_rows * 2 > packed.rows:
        return
    if schedule.steps:
        yield Setting(f"steps: {FEWEST}", FEWEST)
        return
    each = math.ceil(packed.rows / schedule.batch_rows)
    epochs = math.ceil(FEWEST / each)
    if epochs > MOST_EPOCHS:
        return
    if schedule.epochs:
        yield Setting(f"epochs: {epochs}", each * epochs)
        return
    tokens = math.ceil(epochs * packed.tokens / 1000) * 1000
    yield Setting(f"tokens: {tokens:_}", _count(packed, schedule.batch_rows, epochs=None, tokens=tokens))


def _shorter_rows(schedule: Schedule, packed: Packed) -> Setting | None:
    """Return the longest shorter row, a power of two, that suffices and has room for the examples; None if none does.

    A batch in tokens has as many more of shorter rows, so no row suffices.
    """
    if packed.room is None or schedule.is_in_tokens or schedule.steps:
        return None
    length = 1 << (packed.length - 1).bit_length() >> 1
    while length >= packed.room:
        shorter = Packed(rows=packed.tokens / packed.fill / length, fill=packed.fill, length=length, is_exact=False)
        steps = count_steps(schedule, shorter)
        if steps >= FEWEST and schedule.batch_rows * 2 <= shorter.rows:
            return Setting(f"student.max_length: {length}", steps)
        length //= 2
    return None


def _batch_text(schedule: Schedule, packed: Packed, size: int) -> str:
    if schedule.is_in_tokens:
        return f"batch: {size * packed.length:_} tokens"
    return f"batch: {_counted(size, 'row')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
