"""Tests of orcac/puzzles/__init__.py, orcac/puzzles/base.py, orcac/puzzles/boolean_expressions.py,
orcac/puzzles/logical_deduction.py, orcac/puzzles/navigate.py, orcac/puzzles/object_counting.py,
orcac/puzzles/tracking_shuffled_objects.py and orcac/puzzles/web_of_lies.py."""

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcac.errors import InputError
from orcac.puzzles import TASKS, Puzzle, generate, solve

SIZED = [(name, size) for name, task in TASKS.items() for size in range(task.smallest, task.largest + 1)]
REAL = {  # file of BIG-Bench Hard -> task
    "boolean_expressions": "boolean_expressions",
    "web_of_lies": "web_of_lies",
    "navigate": "navigate",
    "object_counting": "object_counting",
    **{f"tracking_shuffled_objects_{n}_objects": "tracking_shuffled_objects" for n in ("three", "five", "seven")},
    **{f"logical_deduction_{n}_objects": "logical_deduction" for n in ("three", "five", "seven")},
}

WALK = "If you follow these instructions, do you return to the starting point?"


def make(name: str, size: int, seed: int) -> Puzzle:
    return generate(name, size=size, rng=random.Random(seed))


@pytest.mark.parametrize(("name", "size"), SIZED)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_solver_finds_the_answer_that_the_generator_knows(name: str, size: int, seed: int) -> None:
    puzzle = make(name, size, seed)
    solution = TASKS[name].solve(puzzle.query)
    assert solution is not None
    assert solution.answer == puzzle.reference
    assert solution.wrong.answer != puzzle.reference
    assert not puzzle.options or {puzzle.reference, solution.wrong.answer} <= set(puzzle.options)
    assert solve(puzzle.query) == solution  # no other task takes the query for its own
    assert make(name, size, seed) == puzzle


@pytest.mark.parametrize(("name", "draws"), [("navigate", 10_000), ("boolean_expressions", 120_000)])
def test_the_puzzles_of_a_small_size_are_as_many_as_its_task_states(name: str, draws: int) -> None:
    rng = random.Random(3)
    found = len({generate(name, size=2, rng=rng).query for _ in range(draws)})
    assert found == TASKS[name].count_distinct(2, 2)
    assert TASKS[name].count_distinct(2, 12) is None


@given(size=st.integers(2, 12), seed=st.integers(0, 2**32))
def test_a_boolean_expression_has_the_value_that_python_gives_it(size: int, seed: int) -> None:
    puzzle = make("boolean_expressions", size, seed)
    expression = puzzle.query.removesuffix(" is")
    assert str(eval(expression)) == puzzle.reference
    assert sum(token in ("True", "False") for token in expression.split()) == size
    solution = solve(puzzle.query)
    assert solution is not None
    for step in (
        *solution.steps,
        solution.right.step,
    ):  # every line of the working is true, and goes on from the last
        reason, _, rewritten = step.full.partition("\n= ")
        redex, _, value = reason.partition(" is ")
        assert redex in expression
        assert eval(redex) == eval(value)
        assert eval(rewritten) == eval(expression)
        assert step.brief == f"= {rewritten}"
        expression = rewritten


@given(size=st.integers(3, 7), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_clues_of_a_deduction_leave_one_order(size: int, seed: int) -> None:
    solution = solve(make("logical_deduction", size, seed).query)
    assert solution is not None
    *clues, order = [step.full for step in solution.steps]
    assert clues[-1].endswith(": 1 order left.")
    assert order.startswith("Order: ")


def test_an_option_that_every_order_allows_is_the_answer() -> None:
    solution = solve(
        "In a golf tournament, there were three golfers: Amy, Eli, and Rob. Eli finished last.\n"
        "Options:\n(A) Amy finished first\n(B) Rob finished second\n(C) Eli finished third"
    )
    assert solution is not None
    assert solution.answer == "(C)"
    assert solution.steps[-1].full == "One order: Amy, Rob, Eli."


@pytest.mark.parametrize(
    ("query", "answer"),
    [  # worked by hand, since a generator and its solver share their tables
        ("not True or not False and True is", "True"),
        ("Question: Ann lies. Bob says Ann lies. Cid says Bob lies. Does Cid tell the truth?", "No"),
        (f"{WALK} Turn left. Take 3 steps. Turn right. Turn right. Take 3 steps.", "Yes"),
        (f"{WALK} Turn left. Take 3 steps. Turn left. Turn right. Take 3 steps.", "No"),
        (f"{WALK} Take 2 steps. Turn left. Take 1 step. Turn around. Take 1 step. Turn right. Take 2 steps.", "Yes"),
        (f"{WALK} Always face forward. Take 1 step left. Take 2 steps forward. Take 1 step right.", "No"),
        ("I have two mice, a stalk of celery, three plums, and a fish. How many animals do I have?", "3"),
        ("I have two beds and a lamp. How many objects do I have?", "3"),
        (
            "A fruit stand sells three fruits: kiwis, pears, and plums. The pears are less expensive than the plums. "
            "The kiwis are the cheapest.\nOptions:\n(A) The kiwis are the second-most expensive\n"
            "(B) The pears are the second-most expensive\n(C) The plums are the second-most expensive",
            "(B)",
        ),
        (
            "In a golf tournament, there were three golfers: Amy, Eli, and Rob. Amy finished below Rob. "
            "Eli finished above Rob.\nOptions:\n(A) Amy finished first\n(B) Eli finished first\n(C) Rob finished first",
            "(B)",
        ),
    ],
)
def test_hand_worked_items(query: str, answer: str) -> None:
    solution = solve(query)
    assert solution is not None
    assert solution.answer == answer


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_not_given_away_by_their_frequency(name: str) -> None:
    task = TASKS[name]
    puzzles = [make(name, task.smallest + 2, seed) for seed in range(400)]
    most = max(sum(p.reference == answer for p in puzzles) for answer in {p.reference for p in puzzles})
    share = 1 / len(puzzles[0].options) if puzzles[0].options else 0.25
    assert most / len(puzzles) < share + 0.1


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_query_is_declined_or_answered_but_never_crashes(data: st.DataObject) -> None:
    name, size = data.draw(st.sampled_from(SIZED))
    words = make(name, size, data.draw(st.integers(0, 99))).query.split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        i, j = (data.draw(st.integers(0, len(words) - 1)) for _ in range(2))
        words[i : i + 1] = data.draw(st.sampled_from([[], [words[j]], [words[i], words[i]], ["7" * 5000]])) or ["x"]
    solve(" ".join(words))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "is",
        "True False is",
        "( True is",
        "not is",
        "( ) is",
        "What is the capital of France?",
        "I have a plum and a unicorn. How many fruits do I have?",
        "I have a plum and two peaches. How many unicorns do I have?",
        "Question: Ann lies. Bob says Cid lies. Does Bob tell the truth?",
        "If you follow these instructions, do you return to the starting point? Turn upwards.",
        "In a golf tournament, there were two golfers: Amy and Eli. Eli was happy.\nOptions:\n(A) Amy finished first",
    ],
)
def test_a_query_that_cannot_be_read_is_declined(query: str) -> None:
    assert solve(query) is None


def test_an_unknown_task_or_size_is_a_user_error() -> None:
    with pytest.raises(InputError, match="no such puzzle task") as unknown:
        make("sudoku", 3, 0)
    assert "navigate" in unknown.value.fix
    with pytest.raises(InputError, match="13 literals") as unmade:
        make("boolean_expressions", 13, 0)
    assert "2 to 12" in unmade.value.fix


@pytest.mark.data
@pytest.mark.parametrize(("file", "name"), REAL.items())
def test_the_real_items_are_answered(file: str, name: str) -> None:
    if "ORCAC_DATA" not in os.environ:
        pytest.skip("ORCAC_DATA is not set")
    items = json.loads(Path(os.environ["ORCAC_DATA"], "bbh", "bbh", f"{file}.json").read_text())["examples"]
    solutions = [(TASKS[name].solve(item["input"]), item["target"]) for item in items]
    assert len(items) == 250
    assert [target for solution, target in solutions if solution is None or solution.answer != target] == []
