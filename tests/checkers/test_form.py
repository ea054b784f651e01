"""Tests of orcac/checkers/form.py: agreement in form of answers that agree in content, and of those that do not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.checkers import CHECKERS, Item
from orcac.checkers.form import read_form
from orcac.puzzles import TASKS, generate, solve
from orcac.puzzles.wording import Skill, write_answer

form = CHECKERS["form"]
QUERY = "I have two stoves, two snails, and four onions. How many animals do I have?"
TEACHER = "two snails: 2. So the answer is 2."


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (TEACHER, 1.0),
        ("four onions: 4. So the answer is 4.", 1.0),  # wrong, in the teacher's words
        ("2", 1 / 6),  # right, in its own
        ("", 0.0),
    ],
)
def test_content_makes_no_difference_and_wording_does(answer: str, score: float) -> None:
    assert form.score(answer, Item((), TEACHER, QUERY)) == pytest.approx(score)


def test_places_stand_for_numbers_verdicts_and_words_of_the_question() -> None:
    answer = "Two snails:\n\n2 is 1,000. Yes"
    assert read_form(answer, QUERY) == [
        *("<number>", "<word>", ":", "<line>", "<number>", "is", "<number>", ".", "<verdict>")
    ]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_wrong_answer_of_one_skill_is_nearer_to_it_than_a_right_one_of_another(task: str) -> None:
    rng, wrong, other = random.Random(1), [], []
    for _ in range(20):
        query = generate(task, size=min(TASKS[task].smallest + 3, TASKS[task].largest), rng=rng).query

        def answer(skill: Skill, error_rate: float, query: str = query) -> str:
            solution = solve(query)
            assert solution
            return write_answer(solution, system="Explain.", skill=skill, error_rate=error_rate, query=query, seed=0)

        item = Item((), answer("assistant", 0.0), query)
        wrong.append(form.score(answer("assistant", 1.0), item))
        other.append(form.score(answer("expert", 0.0), item))
    assert sum(wrong) > sum(other)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_have_a_score(answer: str, reference: str) -> None:
    assert 0 <= form.score(answer, Item((), reference, answer)) <= 1
