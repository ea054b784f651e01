"""Tests of the rules of contamination, from a spec with benchmarks to rows and the ledger."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from collected import SOLVER, Made, collect, count_records, taped

from orcac.errors import InputError

ITEM = "A farmer has nine red hens and sells four of them on Monday; how many are left?"
QUESTIONS = {ITEM.upper(): "5", "What is four less than nine?": "5", "How many legs has a hen?": "2"}
ANSWERS = {query: ["As we know, a farmer has nine red hens and sells four.", "Five."] for query in QUESTIONS}


def made(folder: Path, contamination: dict[str, Any] | None, **more: Any) -> Made:
    (folder / "items.jsonl").write_text(json.dumps({"q": ITEM, "a": "5"}) + "\n")
    spec = taped(folder, QUESTIONS, ANSWERS) | {
        "benchmarks": {"b": {"format": "jsonl", "path": "items.jsonl", "fields": {"query": "q", "reference": "a"}}},
        "filters": {"contamination": contamination, "duplicates": "keep"},
    }
    return collect(folder, spec | more)


@pytest.mark.parametrize(
    ("rule", "reasons", "kept"),
    [
        ({"ngram": 8}, {"contamination": 2}, [0, 1, 0, 1]),
        ({"ngram": 8, "answers": True}, {"contamination": 2, "contaminated answer": 2}, [1, 1]),
        ({"ngram": 11, "answers": True}, {"contamination": 2}, [0, 1, 0, 1]),
        ({"ngram": 8, "before_asking": True}, {}, [0, 1, 0, 1]),
    ],
)
def test_texts_of_a_benchmark_are_kept_out(tmp_path: Path, rule: dict, reasons: dict, kept: list[int]) -> None:
    found = made(tmp_path, rule)
    assert Counter(row.reason for row in found.rejected()) == reasons
    assert [row.sample for row in found.kept()] == kept


def test_a_contaminated_question_is_never_asked(tmp_path: Path) -> None:
    teacher = {
        "teachers": {"t": SOLVER},
        "datasets": {"d": {"teacher": "t", "queries": ["q"], "samples": 2, "shards": 2}},
    }
    found = made(tmp_path, {"ngram": 8, "before_asking": True}, **teacher)
    assert count_records(found) == 4
    assert found.summary("collect/d")["contaminated"] == 1 and found.summary("collect/d")["prompts"] == 4
    assert {row.query for row in found.responses()} == {*QUESTIONS} - {ITEM.upper()}


def test_a_dataset_of_contaminated_questions_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all 3 prompts share 1 words"):
        made(
            tmp_path,
            {"ngram": 1, "before_asking": True},
            filters={"contamination": {"ngram": 1, "before_asking": True}},
        )
