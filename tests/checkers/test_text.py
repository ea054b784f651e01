"""Tests of orcac/checkers/text.py and orcac/checkers/plain.py."""

import pytest

from orcac.checkers import CHECKERS, Item

text = CHECKERS["text"]


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("The answer is Paris, because it is large.", "Paris"),
        ("**Answer:** *Paris*", "Paris"),
        ('The answer is "St. Louis".', "St. Louis"),
        ("The answer is J. R. R. Tolkien. He wrote it.", "J. R. R. Tolkien"),
        (r"\boxed{\text{New York}}", "New York"),
        ('{"answer": "New York"}', "New York"),
        ("So the answer is ] ) }.", "] ) }"),
        ("apple, berry, cedar", "apple, berry, cedar"),
        ("1. apple\n2. berry", "apple berry"),
        ("Here is the sorted list:\n- apple\n- berry", "apple berry"),
        ("The sorted list is: apple berry", "apple berry"),
        ("So the answer is", ""),
        ("First we look at it.\nThen we count.", ""),
        ("<think>Rome?</think>Paris", "Paris"),
    ],
)
def test_reading(response: str, value: str) -> None:
    assert text.read(response, Item()).value == value


def test_a_passage_is_answered_by_the_whole_response() -> None:
    item = Item(reference="One line.\nAnother line.")
    assert text.read("The answer is 5.\nOr so.", item).value == "The answer is 5.\nOr so."
    assert text.score("one line. another line", item) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Paris.", "  paris"),
        ("apple, berry and cedar", "apple berry cedar"),
        ("1. apple\n2. berry", "apple berry"),
        ("The Eiffel Tower", "Eiffel tower"),
        ("“don’t”", "don't"),
        ("cafe\u0301", "café"),
        ("Ｐａｒｉｓ", "Paris"),
        ("3–5", "3 to 5"),
        ("\u200fنعم", "نعم."),
    ],
)
def test_equal(first: str, second: str) -> None:
    assert text.same(first, second, Item())


@pytest.mark.parametrize(
    ("first", "second"),
    [("> ) }", "> } )"), ("valid", "invalid"), ("C++", "C"), ("a, b", "b, a"), ("5!", "5"), ("", ""), ("-5", "5")],
)
def test_unequal(first: str, second: str) -> None:
    assert not text.same(first, second, Item())
