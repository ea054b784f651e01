"""Tests of orcac/tokenize/steps.py: steps are counted as training counts them, and each proposed setting suffices."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.spec.schema import Stage
from orcac.tokenize.steps import FEWEST, Packed, Schedule, count_steps, describe_shortage, list_settings
from orcac.train.data import TokenCounts, plan_order
from orcac.train.recipe import TrainRecipe

SCHEDULES = st.builds(
    Schedule,
    stage=st.just("s"),
    batch_rows=st.integers(1, 40).map(lambda count: 4 * count),
    epochs=st.integers(1, 6),
    at_once=st.sampled_from([1, 2, 4]),
    is_in_tokens=st.booleans(),
)


def packed(rows: float, *, is_exact: bool = True, room: int | None = None) -> Packed:
    return Packed(rows=rows, fill=0.5, length=64, is_exact=is_exact, room=room)


UNITS = st.sampled_from(["epochs", "tokens", "steps"])


def in_unit(schedule: Schedule, unit: str) -> Schedule:
    """Return the schedule with a length in another unit: 1,000 tokens or 11 steps for each epoch."""
    each = {"epochs": 1, "tokens": 1000, "steps": 11}[unit]
    return schedule.model_copy(update={"epochs": None, unit: each * (schedule.epochs or 1)})


@given(st.integers(1, 300), SCHEDULES, UNITS)
def test_steps_are_those_of_the_order_of_training(rows: int, schedule: Schedule, unit: str) -> None:
    schedule = in_unit(schedule, unit)
    counts = np.full(rows, 32)
    recipe = TrainRecipe(
        seed=0,
        learning_rate=1.0,
        epochs=schedule.epochs,
        tokens=schedule.tokens,
        steps=schedule.steps,
        batch_rows=schedule.batch_rows,
    )
    expected = plan_order(recipe, TokenCounts(counts, counts)).steps
    assert abs(count_steps(schedule, packed(rows)) - expected) <= (schedule.tokens is not None)


@given(st.integers(1, 300), SCHEDULES, UNITS)
def test_every_proposed_setting_is_a_stage_of_enough_steps(rows: int, schedule: Schedule, unit: str) -> None:
    schedule = in_unit(schedule, unit)
    for setting in list_settings(schedule, packed(rows)):
        values: dict[str, Any] = dict(part.split(": ") for part in setting.text.split(", "))
        given_lengths = {"epochs": schedule.epochs, "tokens": schedule.tokens, "steps": schedule.steps}
        stage = Stage.model_validate(
            {"dataset": "d", **given_lengths, "batch": f"{schedule.batch_rows} rows"}
            | {
                key: int(value.replace("_", "")) if value.replace("_", "").isdigit() else value
                for key, value in values.items()
            }
        )
        size = stage.batch.rows(64)
        assert size % schedule.at_once == 0 and size * 2 <= rows
        changed = schedule.model_copy(update={"batch_rows": size} | {key: getattr(stage, key) for key in given_lengths})
        assert count_steps(changed, packed(rows)) == setting.steps >= FEWEST
        assert describe_shortage(changed, packed(rows)) == ""


@pytest.mark.parametrize(
    ("rows", "schedule", "warning"),
    [
        (100, {"batch_rows": 2, "epochs": 1}, ""),
        (14.2, {"batch_rows": 32, "epochs": 60}, "a batch has more rows than there are (about 60 steps: about 14 rows"),
        (99, {"batch_rows": 2, "epochs": 1}, ""),
        (98, {"batch_rows": 2, "epochs": 1}, "write `batch: 1 row` (98 steps) or `epochs: 2` (98 steps)"),
        (3, {"batch_rows": 2, "epochs": 1}, "collect more answers"),
        (99, {"batch_rows": 2, "steps": 9}, "(9 steps: 99 rows, 2 rows a step); write `steps: 50` (50 steps)"),
    ],
)
def test_a_stage_is_warned_of_if_it_has_few_steps_or_a_batch_of_all_rows(
    rows: float, schedule: dict[str, Any], warning: str
) -> None:
    text = describe_shortage(Schedule(stage="s", **schedule), packed(rows, is_exact=isinstance(rows, int)))
    assert warning in text and bool(text) == bool(warning)
    assert not re.search(r"about", text) or not isinstance(rows, int)


@pytest.mark.parametrize(
    ("room", "batch", "epochs", "fix"),
    [
        (20, 1, 1, "write `epochs: 7` (56 steps)"),
        (16, 1, 2, "write `epochs: 7` (56 steps) or `student.max_length: 16` (64 steps)"),
        (5, 1, 2, "write `epochs: 7` (56 steps) or `student.max_length: 16` (64 steps)"),
        (5, 32, 10, "write `batch: 1 row` (80 steps)"),
    ],
)
def test_shorter_rows_are_proposed_if_the_examples_fit_into_them(room: int, batch: int, epochs: int, fix: str) -> None:
    text = describe_shortage(Schedule(stage="s", batch_rows=batch, epochs=epochs), packed(8, room=room))
    assert text.endswith(fix)
