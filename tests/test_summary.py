"""Tests of orcac/summary.py and of every kind's summary type in its recipe.py: writing, and tolerant reading."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from orcac.collect.recipe import CollectSummary
from orcac.errors import StoreError
from orcac.eval.recipe import EvalSummary
from orcac.filter.recipe import FilterSummary
from orcac.kinds import KINDS
from orcac.rate.recipe import RateSummary
from orcac.report.recipe import ReportSummary
from orcac.sample.recipe import SampleSummary
from orcac.score.recipe import ScoreSummary
from orcac.student.recipe import StudentSummary
from orcac.summary import ShardSummary, Summary
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train.recipe import TrainSummary

COMMITS = {"o/n@main": "c0ffee"}
SAMPLE = {"read": 5, "kept": 4, "tasks": 2, "characters": 45, "dropped": {"not drawn": 1}, "hub": COMMITS}
TRAIN = {
    "steps": 8,
    "tokens": 600,
    "supervised_tokens": 360,
    "first_loss": 3.5,
    "final_loss": 1.25,
    "tokens_per_second": None,
    "mfu": None,
    "mfu_of": "matmul on 1 CPU thread",
    "peak_gib": 0.75,
    "processes": 2,
}
EVAL = {"n": 2, "cut": 1, "input_tokens": 90, "output_tokens": 70, "earlier": ""}
SCORE = {"n": 2, "mean": 0.5, "outcomes": {"right": 1, "wrong": 1}, "left_out": 1, "chance": 0.25, "others": {"c": 1.0}}
# type -> its JSON form as a run of today writes it, and the keys that summaries of the oldest stores lack
KINDS_OF_SUMMARY: dict[type[Summary], tuple[dict, set[str]]] = {
    SampleSummary: (SAMPLE, {"characters", "hub"}),
    CollectSummary: (
        {"prompts": 3, "answered": 2, "failed": {"server": 1}, "input_tokens": 9, "output_tokens": 7, "usd": 0.5},
        {"input_tokens", "output_tokens", "usd"},
    ),
    ShardSummary: ({"prompts": 3, "answered": 2, "failed": {"server": 1}, "usd": 0.5}, {"answered", "failed", "usd"}),
    FilterSummary: ({"read": 3, "kept": 2, "rejected": {"refusal": 1}}, set()),
    RateSummary: (
        {
            "answers": 3,
            "rated": 2,
            "unrated": {"unread": 1},
            "questions": 2,
            "valued": 2,
            "quartiles": [0.0, 0.25, 0.5, 0.75, 1.0],
        },
        set(),
    ),
    StudentSummary: ({"parameters": 806_016, "vocabulary": 400, "hub": COMMITS}, {"hub"}),
    TokenizeSummary: (
        {
            "examples": 4,
            "packed": 3,
            "too_long": 1,
            "rows": 2,
            "tokens": 90,
            "supervised_tokens": 60,
            "fill": 0.9,
        },
        set(),
    ),
    TrainSummary: (TRAIN, {"tokens_per_second", "mfu", "mfu_of", "peak_gib", "processes"}),
    EvalSummary: (EVAL, EVAL.keys() - {"n"}),
    ScoreSummary: (SCORE, {"others"}),
    ReportSummary: ({"arms": 2, "benchmarks": 1, "all_at_chance": False}, set()),
}
HERE = Path("store/kind/0/artifact.json")
every_type = pytest.mark.parametrize("summary", KINDS_OF_SUMMARY, ids=lambda summary: summary.__name__)


def test_every_kind_has_a_summary_type() -> None:
    assert {summary.kind for summary in KINDS_OF_SUMMARY} - {""} == set(KINDS)


@every_type
def test_a_summary_is_written_with_the_keys_order_and_values_that_it_was_read_from(summary: type[Summary]) -> None:
    values, _ = KINDS_OF_SUMMARY[summary]
    assert json.dumps(summary.from_json(values, HERE).as_json()) == json.dumps(values)


@every_type
def test_a_field_that_an_older_orcac_did_not_write_takes_its_default(summary: type[Summary]) -> None:
    values, newer = KINDS_OF_SUMMARY[summary]
    read = summary.from_json({key: value for key, value in values.items() if key not in newer}, HERE)
    for field in dataclasses.fields(read):
        if field.name not in newer:
            assert getattr(read, field.name) == getattr(summary.from_json(values, HERE), field.name)
        elif field.default_factory is not dataclasses.MISSING:
            assert getattr(read, field.name) == field.default_factory()
        else:
            assert getattr(read, field.name) == field.default


@every_type
def test_a_field_of_a_newer_orcac_is_ignored(summary: type[Summary]) -> None:
    values, _ = KINDS_OF_SUMMARY[summary]
    assert summary.from_json(values | {"novel": [1]}, HERE) == summary.from_json(values, HERE)


@every_type
@pytest.mark.parametrize("damaged", [None, [], "text", {}, {"novel": 1}])
def test_a_summary_without_its_fields_is_refused(summary: type[Summary], damaged: object) -> None:
    with pytest.raises(StoreError, match=r"artifact\.json: the summary is damaged"):
        summary.from_json(damaged, HERE)


@every_type
def test_a_value_of_the_wrong_type_is_refused_by_its_name(summary: type[Summary]) -> None:
    values, _ = KINDS_OF_SUMMARY[summary]
    first = next(iter(values))
    for wrong in (None, "many", [1], {"a": 1}, 0.5):
        with pytest.raises(StoreError, match=rf"damaged \({first}\)"):
            summary.from_json(values | {first: wrong}, HERE)


def test_commits_are_written_only_if_a_source_is_on_a_hub() -> None:
    assert "hub" not in SampleSummary(read=1, kept=1).as_json()
    assert "hub" not in StudentSummary(parameters=1).as_json()
    assert ShardSummary(prompts=4).as_json() == {"prompts": 4}
