"""Tests of orcac/spec/reference.py: docs/spec.md and the editors' JSON Schema are up to date and correct."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orcac.spec.reference import build_json_schema, render_markdown

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == render_markdown(), "orcac schema --markdown > docs/spec.md"


def test_the_editors_schema_is_up_to_date() -> None:
    assert json.loads((ROOT / "specs" / "orcac.schema.json").read_text()) == build_json_schema(), (
        "orcac schema > specs/orcac.schema.json"
    )


WHOLE = {
    "orcac": 1,
    "name": "x",
    "teachers": {"t": {"model": "m", "endpoint": {"kind": "openai", "tokens_per_minute": "120_000"}}},
    "datasets": {"d": {"teacher": "t", "queries": ["q"], "draw": {"q": [1, 2]}}},
    "student": {"base": "x"},
    "stages": {"s": {"dataset": "d", "batch": "160 rows", "warmup": "3 %"}},
    "curriculum": ["s"],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ablations": {"arm": {"stages": {"s": {"epochs": 2, "optimizer": None}}, "curriculum": ["s"]}}},
        {"ablations": {"arm": {"teachers": {"t": {"endpoint": {"concurrency": 3}}}}}},
    ],
)
def test_an_editor_accepts(change: dict[str, object]) -> None:
    jsonschema.validate(WHOLE | change, build_json_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"curriculum": None},
        {"stages": {"s": {"dataset": "d", "epoks": 4}}},
        {"stages": {"-s": {"dataset": "d"}}},
        {"stages": {"s": {"dataset": "d", "warmup": "three"}}},
        {"budget": "many USD"},
        {"ablations": {"arm": 3}},
        {"ablations": {"arm": {"stages": {"s": {"epoks": 4}}}}},
        {"ablations": {"arm": {"teachers": {"t": {"endpoint": {"kind": "oracle"}}}}}},
    ],
)
def test_an_editor_refuses(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(WHOLE | change, build_json_schema())


def test_a_spec_that_extends_another_may_lack_required_keys() -> None:
    jsonschema.validate({"extends": "a.yaml", "name": "b", "teachers": {"t": {"model": "n"}}}, build_json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"extends": "a.yaml", "stages": {"s": {"epoks": 4}}}, build_json_schema())


def test_headings_spell_the_names_of_products_correctly() -> None:
    headings = [line for line in render_markdown().splitlines() if line.startswith("## ")]
    assert "## OpenAI endpoint: openai" in headings and "## vLLM endpoint: vllm" in headings
    assert "## System messages" in headings
