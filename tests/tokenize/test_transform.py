"""Tests of orcac/tokenize/transform.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orcac.tokenize.transform import keep_steps, shuffle_steps, split_steps

TICKETS = np.random.PCG64(0).random_raw(8)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a\nb\n\nc. d\n \ne", ["a\nb", "c. d", "e"]),
        ("a. b\nc", ["a. b", "c"]),
        ("Is it a? It is 2.5! So b.", ["Is it a?", "It is 2.5!", "So b."]),
        ("one", ["one"]),
        ("", [""]),
    ],
)
def test_steps_are_paragraphs_or_lines_or_sentences(text: str, steps: list[str]) -> None:
    assert split_steps(text)[::2] == steps and "".join(split_steps(text)) == text


@pytest.mark.parametrize(("share", "moved"), [(0.05, 0), (0.1, 2), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_larger_share_moves_more_steps(share: float, moved: int) -> None:
    steps = list("abcdefgh")
    shuffled = shuffle_steps(steps, share, TICKETS)
    assert sorted(shuffled) == steps and sum(map(str.__ne__, shuffled, steps)) == moved
    assert shuffle_steps(["a"], share, TICKETS[:1]) == ["a"]


def test_a_larger_share_deletes_the_same_steps_and_more_but_never_all() -> None:
    kept = [set(keep_steps(8, share, TICKETS)) for share in (0.05, 0.25, 0.5, 0.999)]
    assert [len(some) for some in kept] == [8, 6, 4, 1]
    assert all(more < fewer for fewer, more in itertools.pairwise(kept))
