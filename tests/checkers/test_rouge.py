"""Tests of orcac/checkers/rouge.py against values of the package rouge-score 0.1.2 with its stemmer."""

import pytest

from orcac.checkers import CHECKERS, Item

rouge = CHECKERS["rouge-l"]


@pytest.mark.parametrize(
    ("candidate", "reference", "score"),
    [
        ("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog", 0.5882352941),
        ("wolves use sound to warn other wolves.", "chlorophyll is used for photosynthesis.", 0.1666666667),
        ("He was running and jumped.", "He runs, jumping", 0.75),
        ("a b c", "d e f", 0.0),
        ("", "a", 0.0),
    ],
)
def test_values(candidate: str, reference: str, score: float) -> None:
    assert rouge.score(candidate, Item(reference=reference)) == pytest.approx(score)


@pytest.mark.parametrize("text", ["> ) }", "狼用声音警告其他狼", "Волки воют", "एक दो"])
def test_any_text_scores_1_against_itself(text: str) -> None:
    assert rouge.score(text, Item(reference=text)) == 1
    assert rouge.score("something else", Item(reference=text)) == 0


def test_reasoning_is_no_part_of_the_response() -> None:
    assert rouge.read("<think>hm</think>\nOne. Two.", Item(reference="One.")).value == "One. Two."
