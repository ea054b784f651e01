"""The language describes itself: every field is classified, has a help line, and stands in the JSON Schema."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from orcac.spec.diff import Change, changes
from orcac.spec.load import load
from orcac.spec.schema import Spec, json_schema


def parts(kind: object, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            seen.add(kind)
            for info in kind.model_fields.values():
                parts(info.annotation, seen)
    else:
        for argument in typing.get_args(kind):
            parts(argument, seen)
    return seen


@pytest.mark.parametrize("part", sorted(parts(Spec, set()), key=lambda part: part.__name__))
def test_every_field_is_classified_and_described(part: type[BaseModel]) -> None:
    for name, info in part.model_fields.items():
        assert isinstance(info.json_schema_extra, dict), name
        assert info.json_schema_extra["class"] in ("semantic", "execution", "label"), name
        assert info.description, name


def test_the_json_schema_carries_classes_and_aliases() -> None:
    schema = json_schema()
    assert schema["properties"]["seed"]["class"] == "semantic"
    assert schema["additionalProperties"] is False
    assert "from" in schema["$defs"]["Sample"]["properties"]


def test_changes_say_field_values_and_class() -> None:
    root = Path(__file__).parents[2] / "specs"
    base = load(root / "smoke.yaml").base.spec
    work = base.hardware.eval.model_copy(update={"threads": 3})
    other = base.model_copy(
        update={"seed": 2, "about": "x", "hardware": base.hardware.model_copy(update={"eval": work})}
    )
    assert changes(base, base) == []
    assert changes(base, other) == [
        Change("about", base.about, "x", "label"),
        Change("seed", 1, 2, "semantic"),
        Change("hardware.eval.threads", 1, 3, "execution"),
    ]
