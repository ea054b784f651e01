"""Tests from YAML to rows of what a spec says about the examples of a stage: orcac/tokenize/transform.py and
orcac/plan/recipes.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from making import SPEC, Made

from orcac.model.chat_format import load_tokenizer


def stage(**fields: object) -> dict[str, Any]:
    return {"stages": {"s": fields}}


def dataset(name: str, **fields: object) -> dict[str, Any]:
    """Return a patch that trains on a dataset like `d` with further fields."""
    return {"datasets": {name: SPEC["datasets"]["d"] | fields}} | stage(dataset=name)


ARMS: dict[str, dict[str, Any]] = {
    "shuffled": dataset("shuffled", transform={"shuffle_steps": 0.5}),
    "fewer": dataset("fewer", transform={"delete_steps": 0.5}),
    "cut": dataset("cut", transform={"keep_tokens": 12}),
    "bare": dataset("bare", teacher="bare", draw={"q": [7]}, transform={"shuffle_steps": 1.0}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), ablations=ARMS)


def pair(made: Made, name: str, matches: Callable[[str, str], bool]) -> list[tuple[list[str], list[str]]]:
    """Return the steps of each example of `d`, and those that the arm `name` learns. The answers must be the same.

    matches: whether the first of two traces may have become the second
    """
    pairs = []
    learnt = made.learnt(f"tokenize/{name}", name)
    for row in made.kept("d"):
        texts = [text.removeprefix("<think>\n").partition("\n</think>\n\n") for text in learnt]
        (trace,) = {trace for trace, _, answer in texts if answer == row.response and matches(row.reasoning, trace)}
        pairs.append((row.reasoning.split("\n"), trace.split("\n")))
    assert len(pairs) == len(learnt)
    return pairs


@pytest.mark.parametrize("name", ["shuffled", "fewer", "cut"])
def test_a_transform_asks_no_teacher_again(made: Made, name: str) -> None:
    for kind in ("collect", "filter"):
        assert made.ref(f"{kind}/{name}", name) == made.ref(f"{kind}/d")
    assert made.ref(f"tokenize/{name}", name) != made.ref("tokenize/d")


def test_half_of_the_steps_of_each_trace_change_places(made: Made) -> None:
    for steps, changed in pair(made, "shuffled", lambda one, other: sorted(one) == sorted(other)):
        assert sorted(steps) == sorted(changed)
        assert sum(one != other for one, other in zip(steps, changed, strict=True)) == max(round(len(steps) / 2), 2)


def test_half_of_the_steps_of_each_trace_are_left_out(made: Made) -> None:
    for steps, left in pair(made, "fewer", lambda one, other: set(other.split("\n")) <= set(one.split("\n"))):
        assert left == [step for step in steps if step in left]
        assert len(left) == len(steps) - round(len(steps) / 2)


def test_traces_are_cut_to_a_number_of_the_students_tokens(made: Made) -> None:
    tokenizer = load_tokenizer(made.make("student") / "model")
    for steps, left in pair(made, "cut", str.startswith):
        before, after = ("\n".join(part) for part in (steps, left))
        ids = tokenizer.encode(before, add_special_tokens=False)[:12]
        assert len(ids) == 12 and tokenizer.decode(ids).rstrip() == after


def test_an_answer_without_reasoning_keeps_its_last_step(made: Made) -> None:
    before, after = [row.response for row in made.kept("bare", "bare")], made.learnt("tokenize/bare", "bare")
    assert not {*before} & {*after} and all("\n" in text for text in before)
    for split in (lambda text: sorted(text.split("\n")), lambda text: text.rpartition("\n")[2]):
        assert sorted(map(split, before)) == sorted(map(split, after))
