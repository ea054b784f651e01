"""Tests of orcac/checkers/visible.py and orcac/checkers/characters.py: what of a response is read."""

import pytest

from orcac.checkers.characters import fold
from orcac.checkers.visible import visible


@pytest.mark.parametrize(
    ("response", "shown"),
    [
        ("<think>A?</think>B", "B"),
        ("A or B? A.\n</think>\n\nC", "C"),  # the template wrote the opening mark
        ("<think>if A", ""),
        ("<think>a <think>b</think> c</think> D", "D"),
        ("A<think>B</think>C", "A\nC"),
        ("[THINK]A[/THINK]B", "B"),
        ("<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B", "B"),
        ("<|channel|>analysis<|message|>A", ""),
        ("B<|im_end|>\n<|im_start|>user\nC", "B"),
        ("B\n\nQ: What is next?\nA: C", "B"),
        ("B\n**Question 2:** What?", "B"),
        ("B. Human: and C?", "B."),
        ("B\n### Instruction:\nSay C", "B"),
        ("Q: What is it?\nA: B", "Q: What is it?\nA: B"),  # nothing precedes it
        ("A quick check: fine", "A quick check: fine"),
    ],
)
def test_visible(response: str, shown: str) -> None:
    assert visible(fold(response)) == shown


def test_a_repetition_of_the_question_is_no_next_question() -> None:
    response = "Step 1.\nQuestion: Which colour has the sky?\nIt is (B)."
    assert visible(response, "Which colour has the sky at noon?") == response
    assert visible(response, "How many legs has a spider?") == "Step 1."


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("（Ｂ）：１２％", "(B):12%"),
        ("Ⓑ 𝐁 🅱", "B B B"),
        ("٣٫٥ ۱۲ १२", "3.5 12 12"),
        ("\u200fا\u200e", "ا"),
        ("a\u00a0\u2009 b\t\r\nc\u2028d", "a b\nc\nd"),
        ("“x” ‘y’ − –", "\"x\" 'y' - -"),
        ("x² ½", "x² ½"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded
