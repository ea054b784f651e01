"""Tests of orcac/filter/refusals.py."""

from __future__ import annotations

import json

import pytest

from orcac.filter.refusals import is_refusal


@pytest.mark.parametrize(
    ("response", "refuses"),
    [
        ("I'm sorry, but I cannot help with that.", True),
        ("\n I’m sorry, I can’t complete that sentence.", True),
        ("Sorry, but as an AI developed by a company, I won't do this.", True),
        ("As an AI language model, I am unable to browse the web.", True),
        ("I apologize, but I do not have enough information to answer.", True),
        ("I can't assist with that.", True),
        ("I'm sorry to hear that you feel unwell. Drink some tea.", False),
        ("As an AI, I can't sing. However, here is the text:", False),
        ("As an AI, I have no taste, but I can list recipes. I cannot cook.", False),
        ("I cannot tell from the text who is taller.", False),
        ("The machine said: I'm sorry, but I cannot help.", False),
        ("So the answer is (A).", False),
        ("", False),
    ],
)
def test_refusals_are_known_by_their_opening(response, refuses):
    assert is_refusal(response) == refuses


@pytest.mark.data
@pytest.mark.parametrize(("teacher", "count"), [("gpt4", 32), ("chatgpt", 20), ("davinci_003", 1)])
def test_share_of_refusals_in_recorded_answers(data, teacher, count):
    """The figures that the module states."""
    lines = (data / f"teacher_flask/model_output/outputs/{teacher}.jsonl").read_text().splitlines()
    assert sum(is_refusal(json.loads(line)["text"]) for line in lines) == count
