"""Tests of orcac/words.py."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from orcac.words import rare_characters, split_words

TEXTS = st.text(st.one_of(st.sampled_from("aB_1 .,-'\n\t\x1c\x85’…é½ßİ²"), st.characters(codec="utf-8")), max_size=40)


@given(text=TEXTS)
def test_words_are_runs_of_word_characters_in_lower_case(text: str) -> None:
    assert [word.decode() for word in split_words(text)] == re.findall(r"\w+", text.casefold())


@given(text=TEXTS, more=TEXTS)
def test_words_of_texts_that_follow_one_another(text: str, more: str) -> None:
    assert split_words(f"{text} {more}") == [*split_words(text), *split_words(more)]


@given(text=TEXTS)
def test_rare_characters(text: str) -> None:
    assert rare_characters(text) == {character for character in text if ord(character) > 127}
