"""What pydantic refuses, in our words and at its place; and what is left of a spec without it."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orcac.spec.problems import Mark, Problem, shown
from orcac.spec.schema import Draw, Spec
from orcac.spec.source import Tree

Path = tuple[str | int, ...]
NAME = "a name is made of letters, digits, `.`, `_` and `-`, at most 63, and starts with a letter or digit"
_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "number": "a number",
    "finite_number": "a finite number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a map of keys to values",
    "model_type": "a map of keys to values",
    "model_attributes_type": "a map of keys to values",
    "tuple_type": "a list, as in [a, b],",
}
_SECRET = re.compile("key|secret|password", re.IGNORECASE)  # in the names of values that are not repeated
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def worded(tree: Tree, errors: Sequence[ErrorDetails]) -> list[Problem]:
    """The problems that pydantic's errors are. A key that is merely misspelt is not told as missing, too."""
    misspelt = {_meant(error) for error in errors if error["type"] == "extra_forbidden"}
    return [_worded(tree, error) for error in errors if error["type"] != "missing" or error["loc"] not in misspelt]


def _hidden(place: Mark, secret: Mark) -> Mark:
    """`place` without what its line has from `secret` on, which logs would keep."""
    if place.line != secret.line:
        return place
    return dataclasses.replace(place, source=place.source[: secret.column - 1] + "...")


def _meant(error: ErrorDetails) -> Path:
    """Where an unknown key would stand, were it spelt as the one most like it."""
    *above, key = error["loc"]
    near = difflib.get_close_matches(str(key), _known_keys(error["loc"]), n=1)
    return (*above, *near)


def _worded(tree: Tree, error: ErrorDetails) -> Problem:
    location, kind, context = error["loc"], error["type"], error.get("ctx", {})
    steps = _steps(tree, location)
    key = str(location[-1]) if location else ""
    on_key = key == "[key]"
    place = tree.place(steps, key=on_key)
    if kind == "variable":
        return Problem(_hidden(place, place), error["msg"])
    if kind == "extra_forbidden":
        place = tree.place([*steps, key], key=True)
        if _SECRET.search(key):
            place = _hidden(place, tree.place([*steps, key]))
        return Problem(place, f"unknown key `{key}`; {_hint(key, _known_keys(location))}")
    if kind == "missing":
        if isinstance(location[-1], int):
            return Problem(place, f"{_named(location)} needs one value more")
        return Problem(place, f"`{key}` is missing here{_help(location)}")
    if kind == "string_pattern_mismatch":
        return Problem(place, f"{shown(error['input'])}: {NAME}")
    if kind == "union_tag_not_found":
        missing = str(context.get("discriminator", "")).strip("'")
        return Problem(place, f"`{missing}` is missing here; known: {', '.join(_tags(location, missing))}")
    if kind == "union_tag_invalid":
        tag = str(context["discriminator"]).strip("'")
        return Problem(
            tree.place([*steps, tag]),
            f"`{tag}: {context['tag']}` is not known; {_hint(str(context['tag']), _tags(location, tag))}",
        )
    if kind == "literal_error":
        known = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        given = error["input"] if not on_key else location[-2]
        if len(known) == 1:
            return Problem(place, f"{_named(location)} must be {known[0]}, not {shown(given)}")
        said = f"unknown key {shown(given)}" if on_key else f"{_named(location)} cannot be {shown(given)}"
        return Problem(place, f"{said}; {_hint(str(given), known)}")
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return Problem(place, f"{_named(location)} must be {words} {_limit(tree, steps, location, context[limit])}")
    if kind in ("too_short", "too_long"):
        limit, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        values = "1 value" if context[limit] == 1 else f"{context[limit]} values"
        return Problem(place, f"{_named(location)} needs {words} {values}")
    if kind == "string_too_short":
        return Problem(place, f"{_named(location)} must not be empty")
    if kind == "int_parsing_size":
        return Problem(place, f"{shown(error['input'])} is too large a number")
    if kind == "measure":
        return Problem(place, f"{shown(error['input'])} is not {context['shape']}")
    if kind in _WANTED:
        given = location[-2] if on_key else error["input"]
        return Problem(place, f"{_wanted(kind, location)} is wanted here, not {shown(given)}{_quotes(kind, given)}")
    return Problem(place, error["msg"][0].lower() + error["msg"][1:])


def _wanted(kind: str, location: Path) -> str:
    if location[-1] in ("int", "float", "str", "bool"):  # a member of the union that `extra` holds
        return "a number, a text, true or false"
    if kind in ("model_type", "model_attributes_type") and Draw in _models(_type(location)):
        return "a list of message numbers, as in [1, 7],"
    return _WANTED[kind]


def _quotes(kind: str, value: Any) -> str:
    scalar = isinstance(value, bool | int | float)
    return f'; write it in quotes, as in "{json.dumps(value)}"' if kind == "string_type" and scalar else ""


def _named(location: Path) -> str:
    """The field at a location, by its name; an item of a list by that of the list."""
    names = [step for step in location if isinstance(step, str) and step != "[key]"]
    return f"`{names[-1]}`" if names else "this"


def _limit(tree: Tree, steps: Sequence[str | int], location: Path, limit: float) -> str:
    written = tree.at(steps).value
    if isinstance(written, str) and written.rstrip().endswith("%"):
        return f"{limit * 100:g} %"
    if limit == 1 and isinstance(limit, float):
        return "1, which is 100 %"
    extra = getattr(_field(location), "json_schema_extra", None) or {}
    unit = str(extra.get("unit", "")).partition(" ")[0] if limit not in (0, 1) else ""
    return f"{limit:,g} {unit}".rstrip() if limit < 10_000 else str(limit)


def _help(location: Path) -> str:
    found = _field(location)
    return f": {found.description}" if found and found.description else ""


def _hint(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"


def prune(tree: Tree, errors: Sequence[ErrorDetails]) -> list[Path]:
    """The places to cut out, so that what is left has no such error."""
    cuts: list[Path] = []
    for error in errors:
        steps = _steps(tree, error["loc"])
        if error["type"] == "extra_forbidden":
            steps = [*steps, str(error["loc"][-1])]
        while steps and not isinstance(tree.at(steps[:-1]).value, dict):
            steps = steps[:-1]  # a list is cut out whole, so that its other places stay what they are
        if steps:
            cuts.append(tuple(steps))
    return cuts


def _steps(tree: Tree, location: Path) -> list[str | int]:
    """pydantic's location without what only pydantic knows (union tags, `[key]`)."""
    steps: list[str | int] = []
    at: Tree | None = tree
    for step in location:
        if at is not None and isinstance(at.value, dict) and str(step) in at.value:
            steps.append(step)
            at = at.value[str(step)]
        elif at is not None and isinstance(at.value, list) and isinstance(step, int) and step < len(at.value):
            steps.append(step)
            at = at.value[step]
    return steps


def _known_keys(location: Path) -> list[str]:
    """The keys that the schema knows beside the last of a location."""
    models = _models(_type(location[:-1]))
    return sorted({info.alias or name for model in models for name, info in model.model_fields.items()})


def _tags(location: Path, key: str) -> list[str]:
    """What `key` may hold, where it says which of several models is meant."""
    return [tag for model in _models(_type(location)) for tag in typing.get_args(model.model_fields[key].annotation)]


def _type(location: Path) -> Any:
    return _walk(location)[0]


def _field(location: Path) -> FieldInfo | None:
    return _walk(location)[1]


def _walk(location: Path) -> tuple[Any, FieldInfo | None]:
    """The type at a location, and the field that it stands in; a union's tag narrows the union."""
    kind: Any = Spec
    field: FieldInfo | None = None
    for step in location:
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
            continue
        models = _models(kind)
        for model in models:
            tags = [model.model_fields[key].annotation for key in ("format", "kind") if key in model.model_fields]
            if len(models) > 1 and any(step in typing.get_args(tag) for tag in tags):
                kind = model
                break
            found = [info for name, info in model.model_fields.items() if step == (info.alias or name)]
            if found:
                kind, field = found[0].annotation, found[0]
                break
    return kind, field


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in typing.get_args(kind) for model in _models(part)]
