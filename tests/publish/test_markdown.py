"""Tests of orcac/publish/markdown.py."""

from __future__ import annotations

import pytest

from orcac.publish.markdown import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.1.0", "0.1.0"),  # a version, no item of a list
        ("1. first", r"1\. first"),
        ("1)", r"1\)"),
        ("- <b>*x*", r"\- \<b\>\*x\*"),
        ("a\n# b", r"a \# b"),
    ],
)
def test_texts_are_shown_as_they_are(text: str, shown: str) -> None:
    assert escape(text) == shown
