"""Tests of orcac/train/schedule.py."""

import pytest

from orcac.train.recipe import TrainRecipe
from orcac.train.schedule import compute_rate, never_leaves_warmup


def rates(steps, **recipe):
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1e-3, batch_rows=1, **recipe)
    return [compute_rate(step, recipe=recipe, steps=steps) for step in range(steps)]


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ("linear", [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.25, 0.5, 0.75, 1, 1, 0.8535534, 0.5, 0.1464466]),
    ],
)
def test_the_rate_rises_in_equal_parts_and_then_falls_as_scheduled(schedule, expected):
    assert rates(8, schedule=schedule, warmup=0.5) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_no_step_has_a_rate_of_0(schedule):
    for steps in (1, 2, 33, 34, 1000):
        for warmup in (0.0, 0.03, 0.5):
            found = rates(steps, schedule=schedule, warmup=warmup)
            assert min(found) > 0 and max(found) == 1


def test_a_warmup_of_one_step_is_never_too_long():
    assert not never_leaves_warmup(0.03, 1) and not never_leaves_warmup(0.03, 100)
    assert never_leaves_warmup(0.9, 2) and not never_leaves_warmup(0.5, 2)
