"""pydantic's errors as problems: in the language's own words, each at its place in the file."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Sequence

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orcac.recipe import Frozen
from orcac.spec.misnomers import suggest
from orcac.spec.problems import Mark, Problem, SpecPath, describe
from orcac.spec.schema import Draw, Order, Replicates, Spec
from orcac.spec.source import Tree

_NAME = "a name is made of letters, digits, `.`, `_` and `-`, at most 63, and starts with a letter or digit"
_EXPECTED = {
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
    "tuple_type": "a list, as in [a, b]",
}
_SECRET = re.compile("key|secret|password", re.IGNORECASE)  # in names of keys whose values messages must not show
_NUMBERS = ("int_type", "int_parsing", "number", "finite_number", "float_type", "float_parsing")
_MAPS = ("dict_type", "model_type", "model_attributes_type")
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def explain_errors(tree: Tree, errors: Sequence[ErrorDetails], base: Tree | None = None) -> list[Problem]:
    """Return the problem of each of pydantic's errors. A misspelt key is reported as unknown only, not as missing.

    base: the spec that the arm `tree` patches
    """
    misspelt = {_closest_location(error) for error in errors if error["type"] == "extra_forbidden"}
    return [
        _explain_new_name(tree, error["loc"], base) or _explain(tree, error)
        for error in errors
        if error["type"] != "default_factory_not_called"  # a consequence of the other errors
        and (error["type"] != "missing" or error["loc"] not in misspelt)
    ]


def _explain_new_name(tree: Tree, location: SpecPath, base: Tree | None) -> Problem | None:
    """Return the problem of an arm that patches a name which the base does not define; None for any other error."""
    section, name = (str(step) for step in (*location[:2], "", "")[:2])
    patched = base.entries.get(section) if base else None
    if patched is None or not _is_map(_type(location[:1])) or name in (known := patched.entries):
        return None
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"defined: {', '.join(known) or 'none'}."
    what = f"`{section}` of the spec has no `{name}`; {hint} A new one needs all of its required keys"
    return Problem(tree.locate([section, name], key=True), what)


def _redact(place: Mark, secret: Mark) -> Mark:
    """Return `place` without the rest of its line from `secret` on, because logs would keep the secret."""
    if place.line != secret.line:
        return place
    return dataclasses.replace(place, source=place.source[: secret.column - 1] + "...")


def _closest_location(error: ErrorDetails) -> SpecPath:
    """Return the location of an unknown key with the key replaced by the known one most like it."""
    *above, key = error["loc"]
    near = difflib.get_close_matches(str(key), _known_keys(error["loc"]), n=1)
    return (*above, *near)


def _explain(tree: Tree, error: ErrorDetails) -> Problem:
    """Return the problem of one of pydantic's errors."""
    location, kind, context = error["loc"], error["type"], error.get("ctx", {})
    steps = _steps(tree, location)
    key = str(location[-1]) if location else ""
    is_key = key == "[key]"
    place = tree.locate(steps, key=is_key)
    if kind == "variable":
        return Problem(_redact(place, place), error["msg"])
    if kind == "extra_forbidden":
        place = tree.locate([*steps, key], key=True)
        if _SECRET.search(key):
            place = _redact(place, tree.locate([*steps, key]))
        return Problem(place, f"unknown key `{key}`; {_place_key(tree, location)}")
    if kind == "missing":
        if isinstance(location[-1], int):
            return Problem(place, f"{_field_name(location)} needs one more value")
        return Problem(place, f"`{key}` is missing{_help_text(location)}{_only_value(location)}")
    if kind == "no_data":
        place = tree.locate(steps, key=True)
        return Problem(place, f"stage `{key}` needs either `dataset` or `data`; neither is given")
    if kind == "string_pattern_mismatch":
        return Problem(place, f"{describe(error['input'])}: {_NAME}")
    if kind == "union_tag_not_found":
        missing = str(context.get("discriminator", "")).strip("'")
        return Problem(place, f"`{missing}` is missing; known: {', '.join(_tags(location, missing))}")
    if kind == "union_tag_invalid":
        tag, named = str(context["discriminator"]).strip("'"), str(context["tag"])
        return Problem(
            tree.locate([*steps, tag]),
            f"`{tag}: {named}` is not known; {suggest(named, _tags(location, tag), is_value=True)}",
        )
    if kind == "literal_error":
        known = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        given = error["input"] if not is_key else location[-2]
        if len(known) == 1:
            return Problem(place, f"{_field_name(location)} must be {known[0]}, not {describe(given)}")
        start = "unknown key" if is_key else f"{_field_name(location)} cannot be"
        hint = suggest(str(given), known, is_value=not is_key)
        if is_key and (value := tree.at(steps).value) in known:
            hint = f"our field comes first: write `{value}: {given}`"
        return Problem(place, f"{start} {describe(given)}; {hint}")
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        bound = _limit(tree, steps, location, context[limit])
        name = _field_name(tuple(steps))  # without the keys that a short form leaves out
        return Problem(place, f"{name} must be {words} {bound}")
    if kind in ("too_short", "too_long"):
        limit, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        values = "1 value" if context[limit] == 1 else f"{context[limit]} values"
        return Problem(place, f"{_field_name(location)} needs {words} {values}")
    if kind == "string_too_short":
        return Problem(place, f"{_field_name(location)} must not be empty")
    if kind == "int_parsing_size":
        return Problem(place, f"the number {describe(error['input'])} is too large")
    if kind == "parameter":
        expected = "a number, a text, true, false, or a list or map of these"
        return Problem(place, f"expected {expected}, got {describe(context['given'])}")
    if kind == "measure":
        return Problem(place, f"{describe(error['input'])} is not {context['shape']}")
    if kind in _EXPECTED:
        given = location[-2] if is_key else error["input"]
        hint = _quoting_hint(kind, given) or _form_hint(kind, given, location)
        return Problem(place, f"expected {_expected_value(kind, location)}, got {describe(given)}{hint}")
    return Problem(place, error["msg"][0].lower() + error["msg"][1:])


def _expected_value(kind: str, location: SpecPath) -> str:
    """Return the kind of value that is allowed at a location, for an error of type `kind`."""
    if kind in ("model_type", "model_attributes_type") and Draw in _models(_type(location)):
        return "a list of message numbers, as in [1, 7]"
    if kind in ("model_type", "model_attributes_type") and Replicates in _models(_type(location)):
        return "a number of runs, as in `replicates: 3`"
    if kind in ("model_type", "model_attributes_type") and Order in _models(_type(location)):
        return "`shuffled`, or a measure, as in `{by: length}`"
    return _EXPECTED[kind]


def _quoting_hint(kind: str, value: object) -> str:
    """Return the advice to quote a scalar, if a text is expected."""
    scalar = isinstance(value, bool | int | float)
    return f'; write it in quotes, as in "{json.dumps(value)}"' if kind == "string_type" and scalar else ""


def _form_hint(kind: str, value: object, location: SpecPath) -> str:
    """Return the advice for a value of another form than the one that is expected."""
    if kind in _NUMBERS and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            number = re.fullmatch(r"[^\d]{1,3}([\d.,_]*\d)", value.strip())
            return f"; write the number alone, {number[1].replace(',', '')}" if number else ""
        return "; remove the quotes"
    if kind in _MAPS and isinstance(value, list | tuple):
        return "; a map has no `-` and no brackets: write `name: value`"
    if kind == "dict_type" and isinstance(value, str) and (ours := typing.get_args(_key_type(location))):
        return f"; write `{{{ours[0]}: {value}}}`"
    if kind in _MAPS and isinstance(value, str):
        tags = [(key, _tags(location, key)) for key in ("kind", "format") if _has_tag(location, key)]
        return next((f"; write `{{{key}: {value}}}`" for key, known in tags if value in known), "")
    if kind == "tuple_type" and isinstance(value, str) and value.isprintable() and len(value) <= 60:
        return f"; write `[{value}]`"
    return ""


def _key_type(location: SpecPath) -> object:
    """Return the type of the keys of the map at a location."""
    kind = _type(location)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is dict else None


def _field_name(location: SpecPath) -> str:
    """Return the name of the field at a location; for an item of a list, the name of the list."""
    names = [step for step in location if isinstance(step, str) and not step.startswith("[")]  # `[key]`, a union's tag
    return f"`{names[-1]}`" if names else "this"


def _limit(tree: Tree, steps: Sequence[str | int], location: SpecPath, limit: float) -> str:
    """Return a limit in the unit of the field, or in percent if the value was written so."""
    written = tree.at(steps).value
    if isinstance(written, str) and written.rstrip().endswith("%"):
        return f"{limit * 100:g} %"
    if limit == 1 and isinstance(limit, float):
        return "1, which is 100 %"
    extra = getattr(_field(location), "json_schema_extra", None) or {}
    unit = str(extra.get("unit", "")).partition(" ")[0] if limit not in (0, 1) else ""
    return f"{limit:,g} {unit}".rstrip() if limit < 10_000 else str(limit)


def _help_text(location: SpecPath) -> str:
    """Return the help of the field at a location, as the end of a sentence."""
    field = _field(location)
    return f": {field.description}" if field and field.description else ""


def find_refused(tree: Tree, errors: Sequence[ErrorDetails]) -> list[SpecPath]:
    """Return the paths of the parts that cause errors. A spec without these parts does not have the errors."""
    refused: list[SpecPath] = []
    for error in errors:
        steps = _steps(tree, error["loc"])
        if error["type"] == "extra_forbidden":
            steps = [*steps, str(error["loc"][-1])]
        while steps and not isinstance(tree.at(steps[:-1]).value, dict):
            steps = steps[:-1]  # the whole list, because without one item the others would have another index
        if steps:
            refused.append(tuple(steps))
    return refused


def _steps(tree: Tree, location: SpecPath) -> list[str | int]:
    """Return pydantic's location without the steps that the file does not have (union tags, `[key]`)."""
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


def _known_keys(location: SpecPath) -> list[str]:
    """Return the keys that the schema allows in the map that the last step of a location belongs to."""
    models = _models(_type(location[:-1]))
    return sorted({name for model in models for name, _ in _fields(model)})


def _place_key(tree: Tree, location: SpecPath) -> str:
    """Return the advice for an unknown key: its right place, if it is known one map further in or out."""
    key, known = str(location[-1]), _known_keys(location)
    if key not in known:
        for name, info in ((name, info) for model in _models(_type(location[:-1])) for name, info in _fields(model)):
            if any(key in dict(_fields(inner)) for inner in _models(info.annotation)) and not _is_map(info.annotation):
                return f"it belongs into `{name}`: write `{name}: {{{key}: ...}}`"
        outer = _steps(tree, location[:-1])  # without a union's tag
        if (
            outer
            and key in _known_keys((*location[: len(outer) - 1], key))
            and not _is_map(_type(location[: len(outer) - 1]))
        ):
            return f"it belongs beside `{outer[-1]}`, one level up"
        first, _, rest = key.partition(".")
        if rest and first in known:
            nested = "".join(f"{{{part}: " for part in rest.split("."))
            return f"a map is nested, not dotted: write `{first}: {nested}...{'}' * nested.count('{')}`"
    return suggest(key, known)


def _fields(model: type[Frozen]) -> list[tuple[str, FieldInfo]]:
    return [(info.alias or name, info) for name, info in model.model_fields.items()]


def _is_map(kind: object) -> bool:
    """Return whether a type is a map of names, or may be one."""
    return typing.get_origin(kind) is dict or any(_is_map(part) for part in typing.get_args(kind))


def _only_value(location: SpecPath) -> str:
    """Return the advice to write the only value that a missing field can have."""
    field = _field(location)
    values = (
        typing.get_args(field.annotation) if field and typing.get_origin(field.annotation) is typing.Literal else ()
    )
    return f"; write `{location[-1]}: {values[0]}`" if len(values) == 1 else ""


def _has_tag(location: SpecPath, key: str) -> bool:
    return all(key in model.model_fields for model in _models(_type(location)))


def _tags(location: SpecPath, key: str) -> list[str]:
    """Return the values of the discriminator `key` of the union at a location."""
    return [tag for model in _models(_type(location)) for tag in typing.get_args(model.model_fields[key].annotation)]


def _type(location: SpecPath) -> object:
    return _walk(location)[0]


def _field(location: SpecPath) -> FieldInfo | None:
    return _walk(location)[1]


def _walk(location: SpecPath) -> tuple[object, FieldInfo | None]:
    """Return the type at a location, and the innermost field that contains it. A union's tag narrows the union."""
    kind: object = Spec
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


def _models(kind: object) -> list[type[Frozen]]:
    """Return the classes of the schema that a type is or, if it is a union or a container, consists of."""
    if isinstance(kind, type) and issubclass(kind, Frozen):
        return [kind]
    return [model for part in typing.get_args(kind) for model in _models(part)]
