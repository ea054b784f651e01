"""Tests of orcac/sample/formats/matching.py: references given as labels, names and numbers of options."""

from __future__ import annotations

import pytest

from orcac.sample.formats.item import Item
from orcac.sample.formats.matching import match_references

COLOURS = ("red", "blue", "green")


def match(*items: Item, are_listed: bool = False) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    found = list(match_references(lambda: items, are_listed=are_listed, report=notes.append))
    return [item.reference for item in found], notes


def numbered(*references: str, options: tuple[str, ...] = COLOURS) -> list[Item]:
    return [Item(task="t", query=str(n), reference=one, options=options) for n, one in enumerate(references)]


@pytest.mark.parametrize(
    ("references", "named", "notes"),
    [
        (["0", "2", "1"], ["red", "green", "blue"], 0),
        (["1", "3", "2"], ["red", "green", "blue"], 0),
        (["0.0", "2.0", "1.0"], ["red", "green", "blue"], 0),
        (["1", "2"], ["blue", "green"], 1),  # could count from either; most files count from 0
        (["0", "3", "1", "3"], ["0", "green", "red", "green"], 1),  # a bad row
        (["0", "1", "7"], ["red", "blue", "7"], 0),
        (["B", "green", "(c)", "pink", ""], ["blue", "green", "green", "pink", ""], 0),
    ],
)
def test_numbers_count_from_the_number_that_the_file_shows(references, named, notes):
    found, printed = match(*numbered(*references))
    assert found == named and len(printed) == notes


def test_a_number_that_is_an_options_text_is_that_option_unless_the_file_numbers_its_options():
    digits = ("1", "2", "3")
    assert match(*numbered("1", "3", options=digits)) == (["1", "3"], [])
    assert match(*numbered("1", options=digits), *numbered("0", "2", "1"))[0] == ["2", "red", "green", "blue"]
    assert match(*numbered("9", options=digits), *numbered("3", "2", options=digits))[0] == ["9", "3", "2"]


def test_listed_options_with_names_become_the_names_and_given_ones_stay():
    options = ('Sentence A: "Hens sing."', 'Sentence B: "Hens swim."')
    item = Item(task="t", query="q", reference="Sentence B", options=options)
    (listed,) = match_references(lambda: [item], are_listed=True)
    assert (listed.options, listed.reference) == (("Sentence A", "Sentence B"), "Sentence B")
    whole = Item(task="t", query="q", reference=options[1], options=options)
    assert next(match_references(lambda: [whole], are_listed=True)).reference == "Sentence B"
    (given,) = match_references(lambda: [item], are_listed=False)
    assert (given.options, given.reference) == (options, options[1])


def test_all_right_answers_are_matched_and_free_form_items_stay():
    several = Item(task="t", query="q", reference="A", references=("A", "blue", "B"), options=COLOURS)
    free = Item(task="t", query="q", reference="3", references=("3", "three"))
    found = list(match_references(lambda: [several, free], are_listed=False))
    assert (found[0].reference, found[0].references) == ("red", ("red", "blue"))
    assert found[1] == free
