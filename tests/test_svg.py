"""Tests of orcac/svg.py: texts that are escaped and fit."""

from __future__ import annotations

import pytest

from orcac.svg import escape_text, shorten_text, text_width


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("\x00\x1b[31m", "\ufffd\ufffd[31m"),
        ("\u202eabc", "\ufffdabc"),
        ("\ud800", "\ufffd"),
        ("長い", "長い"),
    ],
    ids=["markup", "controls", "direction", "lone surrogate", "wide letters"],
)
def test_markup_is_escaped_and_forbidden_characters_are_replaced(text: str, escaped: str) -> None:
    assert escape_text(text) == escaped


@pytest.mark.parametrize("text", ["short", "word " * 100, "長" * 100, "a\n\tb", ""])
@pytest.mark.parametrize("room", [60.0, 300.0])
def test_a_shortened_text_is_one_line_that_fits(text: str, room: float) -> None:
    shortened = shorten_text(text, room, 11.5)
    assert text_width(shortened, 11.5) <= room
    assert "\n" not in shortened and "\t" not in shortened
    assert shortened == " ".join(text.split()) or shortened.endswith("…")


def test_bold_and_wide_letters_take_more_room() -> None:
    assert text_width("ab", 13.5) / 13.5 > text_width("ab", 11.5) / 11.5
    assert text_width("i", 10) < text_width("b", 10) < text_width("W", 10) < text_width("長", 10)
