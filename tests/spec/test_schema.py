"""Tests of orcac/spec/schema/__init__.py, orcac/spec/schema/answers.py, orcac/spec/schema/sources.py and
orcac/spec/schema/training.py: every field is classified and described, and the JSON Schema agrees with `load`."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cases import BROKEN, CASES, lay_out
from pydantic import BaseModel

from orcac.spec.problems import SpecErrors
from orcac.spec.reference import build_json_schema
from orcac.spec.schema import Spec
from orcac.spec.source import File, parse


def find_parts(kind: object, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            seen.add(kind)
            for info in kind.model_fields.values():
                find_parts(info.annotation, seen)
    else:
        for argument in typing.get_args(kind):
            find_parts(argument, seen)
    return seen


@pytest.mark.parametrize("part", sorted(find_parts(Spec, set()), key=lambda part: part.__name__))
def test_every_field_is_classified_and_described(part: type[BaseModel]) -> None:
    for name, info in part.model_fields.items():
        assert isinstance(info.json_schema_extra, dict), name
        assert info.json_schema_extra["class"] in ("semantic", "execution", "label"), name
        assert info.description, name


def test_the_json_schema_has_classes_and_aliases() -> None:
    parts = build_json_schema()["$defs"]
    assert parts["Spec"]["properties"]["seed"]["class"] == "semantic"
    assert parts["Spec"]["additionalProperties"] is False
    assert "from" in parts["Sample"]["properties"]


SPECS = Path(__file__).parents[2] / "specs"
VALIDATOR = jsonschema.Draft202012Validator(build_json_schema())
# messages of rules that a JSON Schema can express; the other rules need the spec's names or files
EXPRESSIBLE = re.compile(
    r"unknown key|is missing(?!: give| before)|expected |needs (one more value|at least)|must be (at|1|the NAME)"
    r"|cannot be `|is not (a (?!multiple|number;|text;)|an (?!owner)|known)|a name is made of"
    r"|must be a map|give `.*` a list"
)
INEXPRESSIBLE = {  # numbers as keys, limits of numbers with a unit, effects of a sweep elsewhere, and other files
    "a text for a message number", "a share beyond the whole", "too small a size", "an infinite rate",
    "an empty sweep", "a sweep of an unknown path", "a sweep of what is no map", "a sweep of a bad value",
    "a sweep whose arms have too long a name", "nothing in a list of a parameter", "a parameter that is no number",
    "prompts of judges that are none",
}  # fmt: skip


@pytest.mark.parametrize("path", [*sorted(SPECS.glob("*.yaml")), BROKEN / "sound.yaml"], ids=lambda path: path.stem)
def test_the_json_schema_accepts_every_sound_spec(path: Path) -> None:
    VALIDATOR.validate(parse(File(path), []).plain())


@pytest.mark.parametrize("case", [case for case in CASES if "load" not in case], ids=lambda case: case["name"])
def test_the_json_schema_refuses_the_cases_that_it_can_express(case: dict[str, Any], tmp_path: Path) -> None:
    try:
        tree = parse(File(lay_out(case, tmp_path)), []).plain()
    except SpecErrors:
        return  # an editor cannot parse this YAML either
    assert VALIDATOR.is_valid(tree) == (case["name"] in INEXPRESSIBLE or not EXPRESSIBLE.search(case["expect"]))
