"""Tests of orcac/reasoning.py."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.reasoning import find_mark_tokens, has_marks, is_open, split_reasoning

CASES = [
    (" plain, as it is \n", ("", " plain, as it is \n")),
    ("<think>\nwhy\n</think>\n\nSo 4.", ("why", "So 4.")),
    ("why\n</think>So 4.", ("why", "So 4.")),  # a template opened it
    ("<think>why, and the end is", ("why, and the end is", "")),
    ("Well. <think>a</think> So <think>b</think> 4.", ("a\nb", "Well.  So  4.")),
    ("<think></think>4", ("", "4")),
    ("[THINK]why[/THINK]So 4.", ("why", "So 4.")),
    ("<|START_THINKING|>why<|END_THINKING|>So 4.", ("why", "So 4.")),
    ("<Thinking>\nwhy\n</Thinking> So 4.", ("why", "So 4.")),
    ("<thought>why", ("why", "")),
    ("Use <thinking> and </thinking> as tags.", ("", "Use <thinking> and </thinking> as tags.")),
    ("Close it with `</think>` at last.", ("", "Close it with `</think>` at last.")),
    ("<think>Is it </think>`x`</think> 4.", ("Is it\n`x`", "4.")),
    ("Split at `r'<think>.*</think>'` first.", ("", "Split at `r'<think>.*</think>'` first.")),
    ("<think>code</think>```\n<think>\n</think>\n```", ("code", "```\n<think>\n</think>\n```")),
    ("An answer <think> goes on.", ("", "An answer <think> goes on.")),
    ("a < b [x] ◁", ("", "a < b [x] ◁")),
    (
        "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>So 4.<|return|>",
        ("why", "So 4."),
    ),
    ("<|channel|>analysis<|message|>why, and", ("why, and", "")),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_reasoning_and_answer_are_split(text, expected):
    assert split_reasoning(text) == expected


@given(st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "`", "'", "<|channel|>final<|message|>", "7", " "])))
def test_no_text_is_lost_or_made_up(parts):
    text = "".join(parts)
    reasoning, answer = split_reasoning(text)
    assert (reasoning + answer).count("7") == text.count("7")
    if not has_marks(text):
        assert (reasoning, answer) == ("", text)


@pytest.mark.parametrize(
    "text",
    [
        "`" + 50_000 * "<think>",
        "`" + 30_000 * "<think>" + 30_000 * "</think>",
        100_000 * "a</think>",
        "<|channel|>final<|message|>" + 20_000 * " \n" + "4",
    ],
    ids=["in code", "pairs in code", "closing", "spaces"],
)
def test_a_model_that_repeats_itself_does_not_hold_up_the_reader(text):
    start = time.process_time()
    split_reasoning(text)
    assert time.process_time() - start < 20  # quadratic time takes minutes


def test_reasoning_that_the_prompt_opened_and_nothing_closes_is_no_answer():
    assert split_reasoning("so 4 or 5", opened=True) == ("so 4 or 5", "")
    assert split_reasoning("why</think>4", opened=True) == ("why", "4")


def test_a_prompt_may_end_within_reasoning():
    assert is_open("<|assistant|><think>\n")
    assert not is_open("<|assistant|><think>\n</think>\n\n")
    assert not is_open("<|assistant|>")


def test_the_marks_among_the_tokens_of_a_vocabulary():
    tokens = ["<s>", "[THINK]", "[/THINK]", "<|end|>", "<|user|>", "think"]
    assert find_mark_tokens(tokens) == {"[THINK]", "[/THINK]"}  # `<|end|>` ends a turn, if there are no channels
    assert find_mark_tokens([*tokens, "<|channel|>"]) == {"[THINK]", "[/THINK]", "<|channel|>", "<|end|>"}
