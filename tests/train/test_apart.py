"""Tests of orcac/train/apart.py: the losses on examples kept apart, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.train.apart import FILE, Loss, describe_apart, read_apart


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((6.5, 0.5, 0.6), "6.500 before, 0.500 lowest (step 700 of 1,400), 0.600 after"),
        ((6.5, 0.6, 0.5), "6.500 before, 0.500 after"),
        ((0.5, 0.7, 0.6), "0.500 before, 0.600 after: it never fell"),
        ((0.5, 0.4, 0.6), "0.500 before, 0.400 lowest (step 700 of 1,400), 0.600 after"),
    ],
)
def test_the_lowest_loss_is_named_if_it_is_neither_the_first_nor_the_last(
    losses: tuple[float, ...], words: str
) -> None:
    assert describe_apart([Loss(700 * number, loss) for number, loss in enumerate(losses)]) == words


def test_the_losses_of_a_stage_are_read_from_its_artifact(tmp_path: Path) -> None:
    assert read_apart(tmp_path) == []
    (tmp_path / FILE).write_text('{"step": 0, "loss": 2.5, "groups": {}}\n{"step": 8, "loss": 1.5, "groups": {}}\n')
    assert read_apart(tmp_path) == [Loss(0, 2.5), Loss(8, 1.5)]
