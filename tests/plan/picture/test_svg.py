"""Tests of orcac/plan/picture/svg.py: marks and colours."""

from __future__ import annotations

from xml.etree import ElementTree

from orcac.plan.picture.svg import STATES, define_marks, define_style, draw_mark


def test_each_state_has_a_mark_of_its_own() -> None:
    marks = define_marks()
    drawings = [ElementTree.fromstring(mark) for mark in marks]
    assert len({mark.partition(">")[2] for mark in marks}) == len(STATES)
    assert [draw_mark(state, "1", "2") for state in STATES] == [
        f'<use href="#{drawing.get("id")}" x="1" y="2"/>' for drawing in drawings
    ]


def test_every_colour_has_a_value_for_light_and_for_dark_pages() -> None:
    style = define_style()
    light, _, dark = style.partition("@media(prefers-color-scheme:dark)")
    assert "url(" not in style and "@import" not in style
    for state in STATES:
        assert f".{state.replace(' ', '-')}{{fill:#" in light and f".{state.replace(' ', '-')}{{fill:#" in dark
