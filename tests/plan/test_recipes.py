"""Tests of orcac/plan/recipes.py: filters, students, stages and hardware as recipes and executions."""

from __future__ import annotations

from typing import Any

import pytest

from orcac.filter.recipe import FilterRecipe, Selection
from orcac.plan.recipes import (
    lower_filters,
    lower_shape,
    lower_stage,
    lower_train_work,
    lower_work,
    training_seed,
)
from orcac.spec import schema


def make_spec(**sections: Any) -> schema.Spec:
    spec: dict[str, Any] = {
        "orcac": 1,
        "name": "study",
        "seed": 3,
        "teachers": {},
        "datasets": {},
        "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
        "stages": {"s": {"dataset": "d"}},
        "curriculum": ["s"],
    }
    return schema.Spec.model_validate(spec | sections)


@pytest.mark.parametrize(
    ("filters", "recipe"),
    [
        ({}, {}),
        ({"refusals": "drop"}, {"drop_refusals": True}),
        ({"duplicates": "keep"}, {"drop_duplicates": False}),
        ({"agreement": True, "min_characters": 5}, {"agree_with_reference": True, "min_characters": 5, "matching": 1}),
        ({"agreement": True, "checker": "auto"}, {"agree_with_reference": True, "checker": "auto", "matching": 1}),
        ({"checker": "auto"}, {}),  # without agreement it has nothing to decide
        ({"contamination": {}}, {"contamination_ngram": 13}),
        ({"finish_reason": ["stop", "length"]}, {"finish_reasons": ("stop", "length")}),
        ({"agreement": "agrees"}, {"agree_with_reference": True, "matching": 1}),
        (
            {"agreement": "contradicts", "unread": "drop"},
            {"contradict_reference": True, "drop_unread": True, "matching": 1},
        ),
        ({"select": {"by": "shortest"}, "checker": "auto"}, {"select": Selection(by="shortest")}),
        ({"select": {"by": "random", "keep": 2}}, {"select": Selection(by="random", keep=2, seed=3)}),
        (
            {"select": {"by": "verified"}, "checker": "auto"},
            {"select": Selection(by="verified"), "checker": "auto", "matching": 1},
        ),
    ],
)
def test_filters(filters: dict[str, Any], recipe: dict[str, Any]) -> None:
    assert lower_filters(schema.Filters.model_validate(filters), seed=3) == FilterRecipe(**recipe)


def test_a_student_has_a_named_shape_or_its_own() -> None:
    named = lower_shape(make_spec().student)
    assert (named.hidden, named.layers) == (schema.SHAPES["tiny"].hidden, schema.SHAPES["tiny"].layers)
    shape = {"hidden": 64, "heads": 4, "layers": 2, "intermediate": 96}
    tokenizer = {"vocabulary": 400, "train_on": ["d"]}
    own = lower_shape(make_spec(student={"shape": shape, "max_length": 512, "tokenizer": tokenizer}).student)
    assert (own.hidden, own.kv_heads, own.positions, own.vocabulary) == (64, 4, 512, 400)


def test_a_stage_counts_its_batch_in_rows_and_takes_the_precision_of_the_hardware() -> None:
    spec = make_spec(
        stages={"s": {"dataset": "d", "tokens": 5000, "batch": "16_384 tokens"}},
        student={"size": "tiny", "max_length": 1024, "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
        hardware={"train": {"precision": "bf16"}},
    )
    recipe = lower_stage(spec.stages["s"], spec)
    assert (recipe.tokens, recipe.epochs, recipe.batch_rows, recipe.precision) == (5000, None, 16, "bf16")


@pytest.mark.parametrize(("seed", "expected"), [(None, 3), (0, 0), (9, 9)])
def test_the_training_seed_is_the_students_own_if_it_has_one(seed: int | None, expected: int) -> None:
    student = {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}} | (
        {} if seed is None else {"seed": seed}
    )
    spec = make_spec(student=student)
    assert training_seed(spec) == lower_stage(spec.stages["s"], spec).seed == expected


def test_hardware_becomes_resources_and_launch_options() -> None:
    work = schema.TrainWork.model_validate(
        {"nodes": 2, "gpus": 4, "zero": 3, "threads": 7, "memory": "3 GiB", "time": "2 hours", "micro_batch": "2 rows"}
        | {"constraint": "a100|h100"}
    )
    assert lower_work(work) == {
        "threads": 7,
        "memory_mb": 3072,
        "minutes": 120,
        "gpus": 0,
        "constraint": "a100|h100",
    }
    execution = lower_train_work(work)
    assert (execution.nodes, execution.gpus, execution.zero, execution.micro_batch_rows) == (2, 4, 3, 2)
    assert (execution.threads, execution.memory_mb, execution.minutes) == (7, 3072, 120)
