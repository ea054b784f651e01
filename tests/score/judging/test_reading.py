"""Reading of reviews: each parser on sound reviews, on those that must stay unread, and on recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.score.judging.reading import READERS, read_review

SOUND = [
    ("first-line", "8 9\nThe second is fuller.", (8, 9)),
    ("first-line", "\n 7.5, 8\n", (7.5, 8)),
    ("first-line", "**10 6.5**\nBoth are fine.", (10, 6.5)),
    ("first-line", "8/10 9/10\n", (8, 9)),
    ("first-line", "Assistant 1: 3, Assistant 2: 8\nClear.", (3, 8)),
    ("first-line", "Scores: (4, 5)", (4, 5)),
    ("first-line", "Assistant 1: 6/10\n\nAssistant 2: 7.5/10\nThe first is thin.", (6, 7.5)),
    ("last-scores", "From (2, -2) to (10, 4) it is 10.\nScores:\nAssistant 1: 2 (bare)\nAssistant 2: 4", (2, 4)),
    ("last-scores", "x = 7.\nOutput: (1, 10)", (1, 10)),
    ("last-scores", "I give Assistant 1 a score of 1 and Assistant 2 a score of 9.5.", (1, 9.5)),
    ("last-scores", "The end points are (2, 2) and (3, 4).\n\n(9, 3)\nThe first one is right.", (9, 3)),
    ("last-scores", "Assistant 1: 9\nAssistant 2: 3\nOn reflection, my final scores are (8, 4).", (8, 4)),
    ("last-scores", "So I would give 4 to Assistant 1 and 10 to Assistant 2.", (4, 10)),
    ("last-scores", "Assistant 1 should receive a score of 8, while Assistant 2 gets a score of 3.", (8, 3)),
    ("last-scores", "Assistant 1's score: 9/10\nAssistant 2's score: 10/10", (9, 10)),
    ("last-scores", "6 7\nNothing to add.", (6, 7)),
    ("last-scores", "Assistant 1:\nx = 6.\n\nAssistant 2:\nx = 7\n\nAssistant 1: 8/10\nAssistant 2: 2/10", (8, 2)),
    ("rating", "Good, but thin.\nRating: 7", (7,)),
    ("rating", "A score of its own: [[3]], at first. Then the rating is [[4.5]]", (4.5,)),
    ("rating", "8\nIt is good.", (8,)),
    ("verdict", "The first is right. [[A]]", (1, 0)),
    ("verdict", 'It ends with "[[A]]", a trick. My verdict: [[B]]', (0, 1)),
    ("verdict", "My verdict: [[B]].\n> so choose [[A]]\nThe line above quotes the answer \"[[A]]\".", (0, 1)),
    ("verdict", "Equal. [[C]]", (0.5, 0.5)),
    ("verdict", "Equal. [[tie]]", (0.5, 0.5)),
]  # fmt: skip
UNREAD = [
    ("first-line", "Both answers are good, and the second is fuller."),
    ("first-line", "8"),
    ("first-line", "8 9 7"),
    ("first-line", "8 11\nThe second is the best ever."),
    ("first-line", "0 9"),
    ("first-line", "-1 -1"),
    ("first-line", ""),
    ("first-line", "I compare them below.\n8 9"),
    ("first-line", "Assistant 1: 8\nIt is good, and 9 of 10 would agree."),
    ("first-line", "8\n9"),
    ("last-scores", "The line goes from (2, 2) to (3, 4), as both find."),
    ("last-scores", "Assistant 1: 11\nAssistant 2: 3"),
    ("last-scores", "Assistant 1: 3x + 10 = 25 is right.\nAssistant 2: 4 * 2 is wrong."),
    ("rating", "It is 7 times as long as it should be."),
    ("rating", "Rating: 11"),
    ("verdict", 'One answer tells me to write "[[A]]".'),
    ("verdict", "A is better."),
]


@pytest.mark.parametrize(("reader", "text", "numbers"), SOUND)
def test_a_sound_review_is_read(reader: str, text: str, numbers: tuple[float, ...]) -> None:
    assert read_review(reader, text) == (numbers, "")


@pytest.mark.parametrize(("reader", "text"), UNREAD)
def test_a_review_without_scores_in_range_is_unread_and_no_number_is_guessed(reader: str, text: str) -> None:
    assert read_review(reader, text) == ((), "unread")


def test_a_refusal_is_told_apart_from_a_review_that_cannot_be_read() -> None:
    assert read_review("first-line", "I'm sorry, but I cannot assist with that.") == ((), "refused")
    assert read_review("first-line", "8 9", refusal="I will not rate this.") == ((), "refused")
    assert read_review("first-line", "8 9\nI'm sorry, but I cannot praise the first.").numbers == (8, 9)


@pytest.mark.parametrize("pair", ["bard", "alpaca-13b"])
def test_recorded_reviews_are_read_as_their_publisher_read_them(data: Path, pair: str) -> None:
    file = data / f"fastchat_reviews/review/review_{pair}_vicuna-13b-20230322-new-hp-fp16.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 80
    for row in rows:
        reader = "last-scores" if row["question_id"] in range(68, 71) else "first-line"
        assert read_review(reader, row["text"]).numbers == tuple(row["score"])
        if reader == "last-scores":
            assert not READERS["first-line"](row["text"])


def test_a_review_of_200_000_characters_is_read() -> None:
    for reader in READERS:
        for part in ("Assistant 1: 8 ", "(2, 3) ", "[[A]] ", '"[[A]]" ', "8 9 ", "score: 7 ", "> [[B]]\n"):
            read_review(reader, part * (200_000 // len(part)))
