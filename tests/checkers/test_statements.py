"""Tests of orcac/checkers/statements.py and orcac/checkers/option/denials.py: short cuts find what a search finds."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.checkers import statements
from orcac.checkers.characters import lowered
from orcac.checkers.option import denials
from orcac.checkers.option.choices import choices

PIECES = (
    "The answer is (B).",
    "answers: ",
    "Ans - 7",
    "the right option, ",
    "correct choice to pick is",
    "no, it's",
    "No\nit is",
    "the option that fits is (A)",
    "one which",
    "this sum is 4",
    "the long argument is",
    "La réponse est C",
    "答案是B",
    "Dr. Smith",
    "J. R. Tolkien",
    "e.g. this",
    "Wait... what?!",
    "\n",
    "\n\n",
    "...",
    "3.5",
    "A.",
    "U.S. law",
    '"',
    ") ",
    "not A, B or C",
    "A and B are wrong",
    "rather than (A)",
    "(A) is wrong",
    "the red box (option A)",
    "B, but not A",
    "x" * 50,
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).flatmap(
    lambda parts: st.sampled_from([" ", "", "\n"]).map(lambda blank: blank.join(parts))
)


@given(text=TEXTS, at=st.integers(0, 200))
def test_the_sentence_ends_around_a_position(text: str, at: int) -> None:
    ends, at = statements.sentence_ends(text), min(at, len(text))
    place = bisect_left(ends, at)
    assert statements.sentence_end(text, at) == ends[place]
    assert statements.end_before(text, at) == (ends[place - 1] if place else -1)


@pytest.mark.parametrize(
    ("pattern", "places"),
    [(statements._SAID, statements._places_of_said), (statements._LOOSE, statements._places_of_loose)],
)
@given(text=TEXTS)
def test_places_of_statements(pattern, places, text: str) -> None:
    lower = lowered(text)
    found = [match.span() for match in statements.match_at(pattern, lower, places(lower))]
    assert found == [match.span() for match in pattern.finditer(lower)]


@given(text=TEXTS, first=st.integers(0, 50))
def test_a_denial_does_not_depend_on_the_order_of_questions(text: str, first: int) -> None:
    mentions = choices(("(A)", "(B)", "(C)"), "").find(text)
    before = denials._denied_before(text, mentions)
    whole = [*map(denials.Denial, denials._denied(text, mentions, before), before)]
    judged = denials.Denials(text, mentions)
    order = sorted(range(len(mentions)), key=lambda index: index ^ first)
    assert {index: judged[index] for index in order} == dict(enumerate(whole))
