"""Tests of orcac/filter/recipe.py, orcac/filter/run.py, orcac/filter/reasons.py and orcac/filter/lengths.py: each rule
and their order.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import make_job

from orcac import rows
from orcac.collect.contamination import Benchmarks
from orcac.errors import InputError
from orcac.filter.lengths import count_tokens
from orcac.filter.reasons import KEEP, Reasons
from orcac.filter.recipe import Bounds, FilterExecution, FilterRecipe
from orcac.filter.run import run
from orcac.job import Job

STRICT = FilterRecipe(max_characters=60, drop_refusals=True, agree_with_reference=True, contamination_ngram=3)


def response(text: str = "So the answer is (A).", **more) -> rows.Response:
    base = {
        "id": "0",
        "source": "s",
        "task": "t",
        "query": "q",
        "system_id": 1,
        "system": "",
        "teacher": "m",
        "response": text,
        "finish_reason": "stop",
    }
    return rows.Response(**(base | more))


def judge(recipe: FilterRecipe, *responses: rows.Response) -> list[str]:
    reasons = Reasons(recipe, Benchmarks({"bench": ["a b c d"]}, 3))
    return [reason for _, reason in reasons.judge_all(responses)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (response(), KEEP),
        (response("", error="timeout", finish_reason=""), "timeout"),
        (response(finish_reason="length"), "finish_reason: length"),
        (response(finish_reason=""), "finish_reason: none"),
        (response(" \n"), "too short"),
        (response("x" * 61), "too long"),
        (response("x" * 60 + "  \n"), KEEP),
        (response("I'm sorry, but I cannot help."), "refusal"),
        (response("", refusal="Another time."), "refusal"),
        (response(reference="(B)", options=["(A)", "(B)"]), "contradicts reference"),
        (response(reference="(A)", options=["(A)", "(B)"]), KEEP),
        (response("Hard to say.", reference="(B)", options=["(A)", "(B)"]), KEEP),
        (response(query="x a B, c"), "contamination"),
        (response(query="a b"), KEEP),
    ],
)
def test_each_rule(row, reason):
    assert judge(STRICT, row) == [reason]


def test_rules_that_are_off_reject_nothing():
    lax = FilterRecipe(finish_reasons=("stop", "length"), min_characters=0, drop_duplicates=False)
    row = response(
        "I'm sorry, but I cannot help.", finish_reason="length", query="a b c", reference="(B)", options=["(B)"]
    )
    assert judge(lax, row, row, response("")) == [KEEP, KEEP, KEEP]


def test_duplicates_are_equal_but_for_white_space_and_only_among_good_rows():
    bad = response("Long  answer", finish_reason="length")
    good, again = response("Long  answer"), response(" Long\nanswer ", query="q ")
    other = response("Long answer", system="Think.", system_id=7)
    assert judge(FilterRecipe(), bad, good, again, other) == ["finish_reason: length", KEEP, "duplicate", KEEP]


@pytest.mark.parametrize(
    ("row", "lengths"),
    [
        (response("a" * 100, reasoning="b" * 300, output_tokens=100), (25, 75, 100)),
        (response("a" * 100, output_tokens=30), (30, 0, 30)),
        (response("a" * 100, reasoning="b" * 300), (25, 75, 100)),  # not counted
        (response("a" * 20, output_tokens=1500), (20, 0, 20)),  # with reasoning that the server did not send
        (response("<think>" + "b" * 300 + "</think>" + "a" * 100, output_tokens=100), (25, 75, 100)),
        (response("", output_tokens=9), (0, 0, 0)),
    ],
)
def test_tokens_are_shared_out_by_characters(row, lengths):
    assert count_tokens(row) == lengths
    for part, tokens in zip(("answer", "reasoning", "both"), lengths, strict=True):
        name = "answer and reasoning" if part == "both" else part
        for bounds, reason in (
            (Bounds(min=tokens, max=tokens), KEEP),
            (Bounds(max=tokens - 1), f"{name} too long"),
            (Bounds(min=tokens + 1), f"{name} too short"),
        ):
            assert judge(FilterRecipe(tokens={part: bounds}, min_characters=0), row) == [reason]


def test_answers_with_other_reasoning_are_no_duplicates():
    rows_ = [response(reasoning=text) for text in ("one way", "another way", " one  way ")]
    assert judge(FilterRecipe(), *rows_) == [KEEP, KEEP, "duplicate"]


def job(tmp_path: Path, recipe: FilterRecipe, responses: list[rows.Response], benchmarks: dict[str, list[str]]) -> Job:
    folders = []
    for name, queries in benchmarks.items():
        folders.append(tmp_path / name)
        folders[-1].mkdir(exist_ok=True)
        items = [rows.Prompt(id="", source=name, task="t", query=q, system_id=1, system="") for q in queries]
        rows.write(folders[-1] / "prompts.parquet", rows.Prompt, items)
    collected = tmp_path / "collect"
    collected.mkdir(exist_ok=True)
    rows.write(collected / "responses.parquet", rows.Response, responses)
    inputs = {"responses": [collected], "benchmarks": folders}
    return make_job(tmp_path, recipe, FilterExecution(allow_empty=("t",)), inputs=inputs)


ROWS = st.lists(
    st.builds(
        response,
        st.sampled_from(["", "yes", "no ", " no", "I'm sorry, I can't help.", "The answer is yes.", "x" * 99]),
        query=st.sampled_from(["q", "a b c", "b c d e", "e"]),
        finish_reason=st.sampled_from(["stop", "length"]),
        error=st.sampled_from(["", "", "timeout"]),
        reference=st.sampled_from(["", "yes"]),
        options=st.just(["yes", "no"]),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=50)
@given(responses=ROWS)
def test_every_row_is_kept_or_rejected_once_in_order(tmp_path_factory, responses):
    responses.append(response(query="kept"))
    work = job(tmp_path_factory.mktemp("f"), STRICT, responses, {"one": ["a b c d"], "two": ["e", "c d e"]})
    summary = run(work)
    kept = list(rows.read(work.out / "kept.parquet", rows.Response))
    rejected = list(rows.read(work.out / "rejected.parquet", rows.Rejected))
    assert summary.read == len(responses) == len(kept) + len(rejected)
    assert summary.kept == len(kept)
    assert summary.rejected == Counter(row.reason for row in rejected)
    back = [rows.widen(row, rows.Rejected, reason="") for row in kept] + rejected
    assert Counter((row.query, row.response, row.error) for row in back) == Counter(
        (row.query, row.response, row.error) for row in responses
    )
    places = iter(responses)
    assert all(any(row == other for other in places) for row in kept)  # a subsequence


def test_counts_name_the_benchmark_that_is_overlapped(tmp_path):
    responses = [response(query=query) for query in ("x a b c", "b c d e", "free")]
    work = job(tmp_path, STRICT, responses, {"one": ["a b c d"], "two": ["b c d e"], "three": ["z"]})
    summary = run(work)
    assert summary.as_json() == {"read": 3, "kept": 1, "rejected": {"contamination": 2}}
    counts = json.loads((work.out / "counts.json").read_text())
    assert counts == summary.as_json() | {"overlaps": {"one": 2, "three": 0, "two": 1}}


def test_the_losses_are_printed_and_a_task_of_which_nothing_is_kept_is_an_error(tmp_path, capsys):
    responses = [response(query="1"), response(query="2", finish_reason="length", task="u")]
    responses += [response(query="1"), response("", query="3", error="timeout", finish_reason="", task="u")]
    work = job(tmp_path, FilterRecipe(), responses, {})
    with pytest.raises(
        InputError, match=r"nothing is left of\n  the task `u`: finish reason: length 1, timeout 1"
    ) as e:
        run(work)
    assert "filters.allow_empty" in e.value.fix
    assert "test  kept 1 of 4; dropped: duplicate 1, finish reason: length 1, timeout 1\n" in capsys.readouterr().err
    allowed = work.execution.model_copy(update={"allow_empty": ("u",)})
    assert run(dataclasses.replace(work, execution=allowed)).kept == 1


def test_a_filter_that_keeps_nothing_is_an_error(tmp_path):
    for responses, cause in (([response(finish_reason="length")], ": finish reason: length 1"), ([], "")):
        with pytest.raises(InputError) as caught:
            run(job(tmp_path, FilterRecipe(), responses, {}))
        assert caught.value.message == f"test: none of {len(responses)} responses is kept{cause}"
        assert caught.value.fix


def test_a_copy_of_the_reference_agrees_though_the_checker_reads_a_part_of_it():
    quoted = 'She calls the cat "Socks."'
    assert judge(FilterRecipe(agree_with_reference=True), response(quoted, reference=quoted)) == [KEEP]


def test_the_share_of_reasoning_is_that_of_the_kept_rows(tmp_path):
    responses = [response("abcd", reasoning="a" * 8), response("abcde"), response("", reasoning="a" * 99)]
    work = job(tmp_path, FilterRecipe(), responses, {})
    assert run(work).as_json() == {"read": 3, "kept": 2, "rejected": {"too short": 1}, "reasoning": round(8 / 17, 6)}
    assert [row.reasoning for row in rows.read(work.out / "kept.parquet", rows.Response)] == ["a" * 8, ""]


def test_contamination_without_benchmarks_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no benchmark"):
        run(job(tmp_path, STRICT, [response()], {}))


def test_the_recipes_checker_decides_on_agreement():
    row = response("Therefore, the most likely cause is (A) rain.", reference="(B)", options=["(A)", "(B)"])
    right = response("The walk is 5 km long.", reference="5000 m", query="How long?")
    for checker, reasons in (
        ("final-answer", [KEEP, "contradicts reference"]),
        ("auto", ["contradicts reference", KEEP]),
    ):
        recipe = FilterRecipe(agree_with_reference=True, checker=checker)
        assert judge(recipe, row, right) == reasons
