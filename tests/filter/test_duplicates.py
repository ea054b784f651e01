"""Tests of orcac/filter/duplicates.py and orcac/filter/near.py, from a spec to rows."""

from __future__ import annotations

import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collected import collect, taped
from hypothesis import given
from hypothesis import strategies as st

from orcac.filter.duplicates import _normalize
from orcac.filter.near import find_near, sketch
from orcac.filter.recipe import RENSA

WORDS = [f"w{number}" for number in range(5000)]
LONG = "Anna walks to the old market by the river and buys three red apples, two pears and a loaf of bread for lunch."
QUESTIONS = {LONG: "5", LONG.replace("bread", "cake"): "5", LONG.replace(" ", "  "): "5", "How many is that?": "5"}


def reasons(folder: Path, duplicates: Any) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Return (question, sample) of the kept rows, and the reasons of the others."""
    answers = {query: ["So five.", "So  five.", f"It is {number}."] for number, query in enumerate(QUESTIONS)}
    answers[LONG.replace(" ", "  ")] = answers[LONG]
    made = collect(folder, taped(folder, QUESTIONS, answers) | {"filters": {"duplicates": duplicates}})
    numbers = {query: number for number, query in enumerate(QUESTIONS)}
    kept = [(numbers[row.query], row.sample) for row in made.kept()]
    return kept, Counter(row.reason for row in made.rejected())


def test_exact_duplicates_of_examples_questions_and_answers(tmp_path: Path) -> None:
    kept, dropped = reasons(tmp_path, "drop")
    assert dropped == {"duplicate": 6} and (0, 0) in kept and (2, 0) not in kept
    assert reasons(tmp_path, {"of": ["example"]}) == (kept, dropped)
    assert reasons(tmp_path, "keep")[1] == {}
    kept, dropped = reasons(tmp_path, {"of": ["question"]})
    assert dropped == {"duplicate question": 3}, "the answers to one prompt share its question"
    assert {question for question, _ in kept} == {0, 1, 3}
    kept, dropped = reasons(tmp_path, {"of": ["answer"]})
    assert kept == [(0, 0), (0, 2), (1, 2), (3, 2)] and dropped == {"duplicate answer": 8}


def test_near_duplicates_of_questions(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    kept, dropped = reasons(tmp_path, {"of": ["question"], "near": 0.7})
    assert {question for question, _ in kept} == {0, 3}
    assert dropped == {"duplicate question": 3, "near duplicate question": 3}
    assert {question for question, _ in reasons(tmp_path, {"of": ["question"], "near": 0.95})[0]} == {0, 1, 3}


def test_planted_near_duplicates_are_found_and_other_texts_are_not() -> None:
    pytest.importorskip("rensa")
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=80)) for _ in range(600)]
    planted = []
    for text in texts[:300]:
        words = text.split()
        words[rng.randrange(80)] = "another"  # 75 to 77 of 81 runs of three words are shared: at least 0.92
        planted.append(" ".join(words))
    near = find_near(sketch([*texts, *planted], 0.8, RENSA), 0.8)
    assert near[600:].sum() >= 299 and not near[:600].any()
    assert np.array_equal(near, find_near(sketch([*texts, *planted], 0.8, RENSA), 0.8))
    assert not find_near(sketch([], 0.8, RENSA), 0.8).size


def test_the_recipe_has_the_version_that_is_pinned() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["near"] == [f"rensa=={RENSA}"]


@given(text=st.text(st.one_of(st.sampled_from(" a\n\t\xa0\u3000\x1c\x85"), st.characters(codec="utf-8")), max_size=20))
def test_white_space_is_normalised(text: str) -> None:
    assert _normalize(text) == " ".join(text.split())
