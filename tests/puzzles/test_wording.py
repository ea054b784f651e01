"""Tests of orcac/puzzles/wording.py: the style that a system message asks for, and the assistant's mistakes."""

import random
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orcac.checkers import final_answer
from orcac.puzzles import TASKS, generate, solve
from orcac.puzzles.wording import Skill, Style, fails, requested_style, write_answer

STEPS = "Think step by step and justify your answer."
QUERY = "True and not ( False or True ) or False is"


def respond(query: str, system: str, skill: Skill, error_rate: float = 0.0) -> str:
    solution = solve(query)
    assert solution is not None
    return write_answer(solution, system=system, skill=skill, error_rate=error_rate, query=query, seed=0)


@pytest.mark.parametrize(
    ("asked", "system"),
    [
        ("answer", ""),
        ("answer", " \n"),
        ("answer", "Give only the final answer."),
        ("answer", "Reply with the answer alone."),
        ("answer", "Answer with just True or False."),
        ("answer", "State the answer and nothing else."),
        ("answer", "Answer the question. Do not give any explanation."),
        (
            "brief",
            "You are a helpful assistant, who follows instructions extremely well. Help as much as you can.",
        ),
        ("brief", "You help people to find information."),
        ("brief", "Answer only when you are sure."),
        ("full", "Give a detailed answer, so that there is no reason to look further."),
        ("full", "Answer so fully that nobody needs to search outside."),
        ("full", "You will be given a task. Write a long answer in detail."),
        ("full", "Always explain, as if to a five-year-old."),
        ("full", "Do the task faithfully. Think step by step and justify your steps."),
        ("full", "Describe the task, give the right option first, then say why the others are wrong."),
        ("full", "Tell how you used the definition to come to the answer."),
        ("full", "Just think step by step, then answer."),
        ("full", "Give not only the answer but your reasons."),
        ("full", "Work through it without skipping steps, and leave no detail out."),
        ("full", "You are a teacher. Say simply what the task asks, and which guidelines it gives."),
        ("full", "Split the definition into parts and give a use of each."),
    ],
)
def test_the_system_message_decides_the_style(asked: Style, system: str) -> None:
    assert requested_style(system) == asked


def test_the_shipped_messages_get_the_style_that_they_ask_for() -> None:
    library = Path(__file__).parents[2] / "specs" / "system_messages" / "orca.yaml"
    messages = YAML(typ="safe").load(library)["messages"]
    asked: dict[int, Style] = dict.fromkeys(range(1, 17), "full") | {1: "answer", 5: "brief", 16: "brief"}
    assert {number: requested_style(message["text"]) for number, message in messages.items()} == asked


def test_the_expert_explains_in_full() -> None:
    assert respond(QUERY, STEPS, "expert") == (
        "( False or True ) is True\n= True and not True or False\n"
        "not True is False\n= True and False or False\n"
        "True and False is False\n= False or False\n"
        "False or False is False\n= False\n"
        "So the answer is False."
    )


def test_the_assistant_is_briefer_and_errs_in_the_last_step() -> None:
    working = "= True and not True or False\n= True and False or False\n= False or False\n= "
    assert respond(QUERY, STEPS, "assistant") == working + "False\nSo the answer is False."
    assert respond(QUERY, STEPS, "assistant", error_rate=1.0) == working + "True\nSo the answer is True."
    assert respond(QUERY, "", "assistant", error_rate=1.0) == "True"


def test_only_the_assistant_errs_and_only_at_hard_queries() -> None:
    assert respond(QUERY, "", "expert", error_rate=1.0) == "False"
    assert respond("True and not True is", "", "assistant", error_rate=1.0) == "False"


def test_the_error_rate_is_the_share_of_queries_that_fail() -> None:
    failed = [fails(f"query {i}", error_rate=0.2, seed=1) for i in range(10_000)]
    assert 0.18 < sum(failed) / len(failed) < 0.22  # 5 standard errors
    assert failed != [fails(f"query {i}", error_rate=0.2, seed=2) for i in range(10_000)]
    assert all(fails(f"query {i}", error_rate=1.0, seed=1) for i in range(100))
    assert not any(fails(f"query {i}", error_rate=0.0, seed=1) for i in range(100))


@given(
    name=st.sampled_from(sorted(TASKS)),
    size=st.integers(3, 7),
    seed=st.integers(0, 2**32),
    system=st.sampled_from(["", "Be helpful.", STEPS]),
    skill=st.sampled_from(["assistant", "expert"]),
    error_rate=st.sampled_from([0.0, 1.0]),
)
def test_the_final_answer_of_every_wording_can_be_read(
    name: str, size: int, seed: int, system: str, skill: Literal["assistant", "expert"], error_rate: float
) -> None:
    puzzle = generate(name, size=size, rng=random.Random(seed))
    solution = TASKS[name].solve(puzzle.query)
    assert solution is not None
    said = respond(puzzle.query, system, skill, error_rate)
    erred = solution.hard and skill == "assistant" and error_rate == 1.0
    expected = solution.wrong.answer if erred else puzzle.reference
    assert final_answer(said, puzzle.options) == expected
    assert (said == expected) == (system == "")


def test_an_assistant_explains_a_share_of_queries_in_full() -> None:
    solution = solve(QUERY)
    assert solution

    def explain(system: str, full_rate: float, seed: int) -> str:
        return write_answer(
            solution, system=system, skill="assistant", error_rate=0, query=QUERY, seed=seed, full_rate=full_rate
        )

    brief, full = respond(QUERY, STEPS, "assistant"), respond(QUERY, STEPS, "expert")
    assert explain(STEPS, 0, 0) == brief and explain(STEPS, 1, 0) == full
    drawn = [explain(STEPS, 0.5, seed) for seed in range(1000)]
    assert set(drawn) == {brief, full} and 430 < drawn.count(full) < 570
    errs = [fails(QUERY, error_rate=0.5, seed=seed) for seed in range(1000)]
    both = sum(text == full and erred for text, erred in zip(drawn, errs, strict=True))
    assert 190 < both < 310  # a quarter: the two draws are independent
    assert explain("Answer in few words.", 1, 0) == respond(QUERY, "Answer in few words.", "assistant")
