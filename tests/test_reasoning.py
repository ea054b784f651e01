"""Tests of orcac/reasoning.py."""

import pytest

from orcac.reasoning import is_open, split_reasoning

CASES = [
    (" plain, as it is \n", ("", " plain, as it is \n")),
    ("<think>\nwhy\n</think>\n\nSo 4.", ("why", "So 4.")),
    ("why\n</think>So 4.", ("why", "So 4.")),  # a template opened it
    ("<think>why, and the end is", ("why, and the end is", "")),
    ("Well. <think>a</think> So <think>b</think> 4.", ("a\nb", "Well.  So  4.")),
    ("<think></think>4", ("", "4")),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_reasoning_and_answer_are_split(text, expected):
    assert split_reasoning(text) == expected


def test_reasoning_that_the_prompt_opened_and_nothing_closes_is_no_answer():
    assert split_reasoning("so 4 or 5", opened=True) == ("so 4 or 5", "")
    assert split_reasoning("why</think>4", opened=True) == ("why", "4")


def test_a_prompt_may_end_within_reasoning():
    assert is_open("<|assistant|><think>\n")
    assert not is_open("<|assistant|><think>\n</think>\n\n")
    assert not is_open("<|assistant|>")
