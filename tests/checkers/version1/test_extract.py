"""Tests of orcac/checkers/version1/extract.py and orcac/checkers/version1/option.py."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcac.checkers.version1 import final_answer, option, same_answer

WORDS = [
    "a",
    "red",
    "Red",
    "box",
    "The",
    "A",
    "(A)",
    "B)",
    "12",
    "1.5",
    "-3",
    "x-ray",
    "it's",
    "invalid",
    "\n",
    "  ",
    "(",
    "-",
    "'",
    ".",
]
OFFERED = [
    "(A)",
    "B",
    "C.",
    "A",
    "I",
    "the red box",
    "The  red",
    "red",
    "12",
    "1.5",
    "-3",
    "invalid",
    "valid",
    "x-ray",
    "it's",
    " ",
    "a box",
]
LETTERS = ["(A)", "(B)", "(C)", "(I)"]
TRUTH = ["True", "False"]
VALIDITY = ["valid", "invalid"]
YES_NO = ["Yes", "No"]

TABLE = [
    # statements
    ("So the answer is (B).", LETTERS, "(B)"),
    ("So the answer is B.", LETTERS, "(B)"),
    ("The answer is b.", LETTERS, ""),
    ("The answer is (b).", LETTERS, "(B)"),
    ("Answer: **B**", LETTERS, "(B)"),
    ("**Answer:** B) Paris", LETTERS, "(B)"),
    ("**Final answer**: `(C)`", LETTERS, "(C)"),
    ("Answer:\n\n(C)", LETTERS, "(C)"),
    ("The answer to this question is (C).", LETTERS, "(C)"),
    ("The correct option is C, since (A) is too small.", LETTERS, "(C)"),
    (r"The answer is $\boxed{C}$.", LETTERS, "(C)"),
    ("(B) is the correct option. (A) is wrong because it is late; (C) is a bird.", LETTERS, "(B)"),
    ("Neither (A) nor (B) is correct.", LETTERS, ""),
    ("The answer is most likely (B).", LETTERS, "(B)"),
    ("The answer is (A). No wait. The answer is (B).", LETTERS, "(B)"),
    ("The answer is (B). To see this, note that the answer is not (A).", LETTERS, "(B)"),
    ("The answer is (B). I hope that this answer is helpful.", LETTERS, "(B)"),
    ("The answer is (A) or (B).", LETTERS, ""),
    ("The answer is either (A) or (B).", LETTERS, ""),
    ("The answer is not (A).", LETTERS, ""),
    ("The answer is (Z).", LETTERS, ""),
    ("The answer is A large dog.", LETTERS, ""),
    ("The answer is A because it is large.", LETTERS, "(A)"),
    ("ANSWER: FALSE", TRUTH, "False"),
    ("not True is False. So the answer is False.", TRUTH, "False"),
    ("True and False: the answer would be False", TRUTH, "False"),
    ("The argument is valid? The answer is invalid.", VALIDITY, "invalid"),
    ("The answer is 'valid'.", VALIDITY, "valid"),
    ("so the answer is yes.", YES_NO, "Yes"),
    ("The answer is No.\n\nQ: Is it?\nA: the answer is", YES_NO, "No"),
    # an option by itself
    ("(B)", LETTERS, "(B)"),
    ("B.", LETTERS, "(B)"),
    ("B) because I like it", LETTERS, "(B)"),
    ("  **True**  ", TRUTH, "True"),
    ("(B)\n(A) is too small and (C) too large.", LETTERS, "(B)"),
    ("We compare (A) with (B).\n\nB", LETTERS, "(B)"),
    ("True\nand so on\nFalse", TRUTH, ""),
    ("Yes, since every step is undone.", YES_NO, "Yes"),
    ("All steps considered: no", YES_NO, "No"),
    # several options and no statement: no guess
    ("True and False is False, not True", TRUTH, ""),
    ("not not False = not not False = not False", TRUTH, ""),
    ("It could be valid or invalid", VALIDITY, ""),
    ("(A) is red. (B) is green, and (C)", LETTERS, ""),
    ("invalid", VALIDITY, "invalid"),
    ("Nobody knows.", YES_NO, ""),
    ("I think that", LETTERS, ""),
    ("", LETTERS, ""),
    ("The answer is 12.", ["1", "2", "12"], "12"),
    ("The answer is -1.", ["1", "2"], ""),
    ("The answer is 1.5", ["1", "5"], ""),
    ("The answer is in the red box.", ["the red box", "the box"], "the red box"),
    # free-form
    ("1 + 1 = 2. So the answer is 1,234.", [], "1,234"),
    ("The answer is -17.", [], "-17"),
    ("The answer is > ) }.", [], "> ) }"),
    ("Answer: **apple banana**\nDone.", [], "apple banana"),
    ("14", [], "14"),
    ("First we look at it.\nThen we count.", [], ""),
    ("So the answer is", [], ""),
]


@pytest.mark.parametrize(("response", "options", "expected"), TABLE)
def test_final_answer(response: str, options: list[str], expected: str) -> None:
    assert final_answer(response, options) == expected


@pytest.mark.parametrize(
    ("response", "options", "expected"),
    [
        ("B. Because", LETTERS, "(B)"),
        ("so (C), not A", LETTERS, "(C)"),
        ("The answer is B", LETTERS, ""),  # T: the price of the paper's rule
        ("Among them, B", LETTERS, "(A)"),
        ("b", LETTERS, ""),
        ("it is not valid, so invalid", VALIDITY, "valid"),
        ("an invalid argument", VALIDITY, "invalid"),
    ],
)
def test_first_capital(response: str, options: list[str], expected: str) -> None:
    assert final_answer(response, options, "first-capital") == expected


def test_a_long_repetitive_response_is_read() -> None:
    """No clause opens before any of the 20,000 options. Were all text before each searched, this would take minutes."""
    assert final_answer("the True is correct " * 20_000, TRUTH) == ""


PIECES = st.sampled_from(
    [
        "answer",
        " is ",
        ": ",
        "(A)",
        "A",
        "B)",
        "Yes",
        "no",
        "**",
        "\n",
        ". ",
        " or ",
        "not ",
        "=",
        "-1",
        "1,0",
        "\\boxed{",
    ]
)
TEXTS = st.text(max_size=60) | st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join)
OPTIONS = st.lists(st.sampled_from(["(A)", "B", "Yes", "no", "1", "-1", "(", " "]) | st.text(max_size=5), max_size=5)


@given(TEXTS, OPTIONS, st.sampled_from(["first-capital", "final-answer"]))
def test_an_answer_is_an_option_or_nothing(response, options, parser) -> None:
    answer = final_answer(response, options, parser)
    if any(option.strip() for option in options):
        assert answer == "" or answer in options
    assert not same_answer(answer, "") and same_answer(answer, answer) is bool(answer)


@given(
    st.sampled_from([LETTERS, TRUTH, VALIDITY, YES_NO]),
    st.integers(0, 1),
    st.text(alphabet="xyz ,.\n", max_size=80),
)
def test_a_closing_statement_is_read_behind_any_prose(options, index, prose) -> None:
    assert final_answer(f"{prose}\nSo the answer is {options[index]}.", options) == options[index]


@pytest.mark.data
@pytest.mark.skipif("ORCAC_DATA" not in os.environ, reason="ORCAC_DATA names the recorded data")
def test_recorded_chains_of_thought() -> None:
    """code-davinci-002 on six BBH tasks; the reference count is that of the plain rule "the answer is X."."""
    options = {
        "boolean": TRUTH,
        "navigate": YES_NO,
        "sports": ["yes", "no"],
        "date": [f"({letter})" for letter in "ABCDEF"],
        "penguins": [f"({letter})" for letter in "ABCDE"],
        "object": [],
    }
    right = unparsed = 0
    for path in sorted((Path(os.environ["ORCAC_DATA"]) / "teacher_codex_bbh").glob("*.json")):
        for row in json.loads(path.read_text())["outputs"]:
            answer = final_answer(row["prediction"], options[path.name.split("_")[0]])
            right += same_answer(answer, row["target"])
            unparsed += not answer
    assert (right, unparsed) == (1284, 5)


@settings(max_examples=300)
@given(
    text=st.lists(st.sampled_from([*WORDS, *OFFERED, " ", " ", "\t"]), max_size=14).map("".join),
    options=st.lists(st.sampled_from(OFFERED), min_size=1, max_size=5).filter(lambda some: some != [" "] * len(some)),
)
def test_mentions_are_those_of_the_pattern_of_all_options(text, options):
    pattern = option._pattern(tuple(options))
    expected = [(options[int(m.lastgroup[1:])], m.start(), m.end()) for m in pattern.finditer(text)]
    assert option.find_mentions(text, tuple(options)) == expected
