"""The language describes itself: every field is classified, has a help line, and stands in the JSON Schema."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cases import BROKEN, CASES, lay_out
from pydantic import BaseModel

from orcac.spec.diff import Change, changes
from orcac.spec.load import load
from orcac.spec.problems import SpecErrors
from orcac.spec.reference import json_schema
from orcac.spec.schema import Spec
from orcac.spec.source import File, parse


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
    parts = json_schema()["$defs"]
    assert parts["Spec"]["properties"]["seed"]["class"] == "semantic"
    assert parts["Spec"]["additionalProperties"] is False
    assert "from" in parts["Sample"]["properties"]


SPECS = Path(__file__).parents[2] / "specs"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
# what a schema can say of a spec; the rest needs the names that it defines, or the files
SAYABLE = re.compile(
    r"unknown key|is missing here(?!: which)|is wanted here|needs (one value more|at least)|must be (at|1)|cannot be `"
    r"|is not (a |an |known)|a name is made of|must be a map|give `.*` a list"
)
UNSAYABLE = {  # keys that are numbers, the limit of a number with its unit, and what a sweep does to the rest
    "a text for a message number", "a share beyond the whole", "too small a size", "an infinite rate",
    "an empty sweep", "a sweep of an unknown path", "a sweep of what is no map", "a sweep of a bad value",
    "a sweep whose arms have too long a name",
}  # fmt: skip


@pytest.mark.parametrize("path", [*sorted(SPECS.glob("*.yaml")), BROKEN / "sound.yaml"], ids=lambda path: path.stem)
def test_the_json_schema_accepts_what_orcac_accepts(path: Path) -> None:
    VALIDATOR.validate(parse(File(path), []).plain())


@pytest.mark.parametrize("case", [case for case in CASES if "load" not in case], ids=lambda case: case["name"])
def test_the_json_schema_refuses_what_a_schema_can_refuse(case: dict[str, Any], tmp_path: Path) -> None:
    try:
        tree = parse(File(lay_out(case, tmp_path)), []).plain()
    except SpecErrors:
        return  # an editor reads no YAML from it either
    assert VALIDATOR.is_valid(tree) == (case["name"] in UNSAYABLE or not SAYABLE.search(case["says"]))


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
