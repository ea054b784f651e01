"""Tests of orcac/collect/contamination.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.collect.contamination import Benchmarks

WORDS = st.lists(st.sampled_from("abcde"), max_size=12)


def overlaps(query: str, items: list[str], ngram: int) -> bool:
    return bool(Benchmarks({"items": items}, ngram).find_overlaps(query, is_query=True))


@pytest.mark.parametrize(
    ("query", "item", "found"),
    [
        ("one two three four", "zero one two three", True),
        ("One,  TWO\n(three)!", "... one two three", True),
        ("one two three", "one two four three", False),
        ("one two", "one two three", False),  # shorter than three words: equal as a whole, or nothing
        ("one two three", "one two", False),
        ("one two", "One two.", True),
        ("", "", False),
        ("( [ {", "( [ {", True),
        ("( [ {", "( [ <", False),
        ("(a) b", "a (b)", False),
    ],
)
def test_three_words_in_common(query, item, found):
    assert overlaps(query, [item], 3) == found


@given(text=st.text(st.sampled_from("ab_1 .,-\n\x1c\x85é"), max_size=20))
def test_words_are_the_same_in_ascii_and_beyond(text):
    ascii = "".join(character for character in text if character.isascii())
    for words in ("a", "b", "ab", "1", "é"):
        assert overlaps(f"é {ascii}", [words], 1) == (words == "é" or overlaps(f"- {ascii}", [words], 1))


@given(query=WORDS, item=WORDS, ngram=st.integers(1, 5))
def test_against_a_search_for_substrings(query, item, ngram):
    runs = [query[i : i + ngram] for i in range(len(query) - ngram + 1)]
    in_item = any(run == item[i : i + ngram] for run in runs for i in range(len(item)))
    short = 0 < len(query) < ngram and query == item
    assert overlaps(" ".join(query), [" ".join(item)], ngram) == (in_item or short)


@pytest.mark.data
@pytest.mark.parametrize("ngram", [8, 13])
def test_known_overlap_of_recorded_questions_with_benchmarks(data, ngram):
    def texts(path: str, read) -> list[str]:
        return [read(json.loads(line)) for line in (data / path).read_text().split("\n") if line]

    questions = [
        (row["task"], row["instruction"])
        for row in texts("teacher_flask/evaluation_set/flask_evaluation.jsonl", lambda row: row)
    ]

    def index(items) -> Benchmarks:
        return Benchmarks({"b": items}, ngram)

    vicuna = index(texts("fastchat/fastchat/llm_judge/data/vicuna_bench/question.jsonl", lambda row: row["turns"][0]))
    wizardlm = index(texts("wizardlm/WizardLM/data/WizardLM_testset.jsonl", lambda row: row["Instruction"]))
    bbh = index(
        example["input"]
        for path in (data / "bbh/bbh").glob("*.json")
        for example in json.loads(path.read_text())["examples"]
    )

    def count(benchmark: Benchmarks, task: str) -> int:
        return sum(bool(benchmark.find_overlaps(text, is_query=True)) for name, text in questions if name == task)

    assert count(vicuna, "Vicuna") == 80
    assert count(wizardlm, "Wizardlm") == 216
    assert count(bbh, "Bbh") == {8: 16, 13: 14}[ngram]  # the others of 26 are worded in their own way
    assert count(bbh, "Wizardlm") + count(bbh, "Vicuna") <= 3  # not everything matches everything
