"""Tests of orcac/checkers/version1/__init__.py, and of its number.py and text.py."""

import pytest

from orcac.checkers.version1 import same_answer


@pytest.mark.parametrize(
    ("parsed", "reference", "expected"),
    [
        ("(A)", "A", True),
        ("(A)", "(B)", False),
        ("yes", "Yes", True),
        ("1,200", "1200", True),
        ("12,00", "1200", False),
        ("14.0", "14", True),
        ("3 * 400 = 1200 apples", "1200", True),
        ("−5", "-5", True),
        ("5", "-5", False),
        ("2/3", "2", False),
        ("3 or 4", "3", False),
        ("1 = a", "1 = a", True),
        ("Monsters, Inc.", "monsters,  inc", True),
        ("", "", False),
        ("", "A", False),
    ],
)
def test_same_answer(parsed: str, reference: str, expected: bool) -> None:
    assert same_answer(parsed, reference) is expected
