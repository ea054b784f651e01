"""What pydantic refuses, in our words and at its place; and what is left of a spec without it."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from orcac.spec.problems import Problem
from orcac.spec.schema import Spec
from orcac.spec.source import Tree

Path = tuple[str | int, ...]
NAME = "a name is made of letters, digits, `.`, `_` and `-`, at most 63, and starts with a letter or digit"


def worded(tree: Tree, error: ErrorDetails) -> Problem:
    """The problem that one of pydantic's errors is."""
    steps = _steps(tree, error["loc"])
    kind, key = error["type"], str(error["loc"][-1]) if error["loc"] else ""
    on_key = key == "[key]"
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return Problem(tree.place([*steps, key], key=True), f"unknown key `{key}`; {hint}")
    if kind == "missing":
        return Problem(tree.place(steps), f"`{key}` is missing here")
    if kind == "string_pattern_mismatch":
        return Problem(tree.place(steps, key=on_key), f"`{error['input']}`: {NAME}")
    if kind == "union_tag_not_found":
        key = str(context.get("discriminator", "")).strip("'")
        return Problem(tree.place(steps), f"`{key}` is missing here")
    if kind == "union_tag_invalid":
        tag = str(context["discriminator"]).strip("'")
        known = context["expected_tags"].replace("'", "").split(", ")
        return Problem(
            tree.place([*steps, tag]), f"`{tag}: {context['tag']}` is not known; {_hint(context['tag'], known)}"
        )
    if kind == "literal_error":
        known = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        what = "key" if on_key else "value"
        shown = error["loc"][-2] if on_key else error["input"]
        hint = _hint(str(shown), known) if len(known) > 1 else f"this should be {known[0]}"
        return Problem(tree.place(steps, key=on_key), f"`{shown}` is no {what} that is known here; {hint}")
    message = error["msg"].replace("Input should be", "this should be").replace("valid tuple", "list, as in [a, b]")
    message = message.replace("a valid dictionary or instance of", "a map: a").replace("valid dictionary", "map")
    return Problem(tree.place(steps, key=on_key), message[0].lower() + message[1:])


def _hint(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"


def prune(tree: Tree, errors: Sequence[ErrorDetails]) -> list[Path]:
    """The places to cut out, so that what is left has no such error; none where nothing would be left."""
    cuts: list[Path] = []
    for error in errors:
        steps = _steps(tree, error["loc"])
        if error["type"] == "extra_forbidden":
            steps = [*steps, str(error["loc"][-1])]
        while steps and not isinstance(tree.at(steps[:-1]).value, dict):
            steps = steps[:-1]  # a list is cut out whole, so that its other places stay what they are
        if not steps:
            return []
        cuts.append(tuple(steps))
    return cuts


def _steps(tree: Tree, location: tuple[str | int, ...]) -> list[str | int]:
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


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys that the schema knows at a place."""
    kind: Any = Spec
    for step in location:
        kind = _inner(kind, step)
    return sorted({info.alias or name for model in _models(kind) for name, info in model.model_fields.items()})


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in typing.get_args(kind) for model in _models(part)]


def _inner(kind: Any, step: str | int) -> Any:
    """The type at `step` inside a type; a union's tag narrows the union."""
    models = _models(kind)
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    narrowed = [
        m
        for m in models
        if step in typing.get_args(getattr(m.model_fields.get("format"), "annotation", None))
        or step in typing.get_args(getattr(m.model_fields.get("kind"), "annotation", None))
    ]
    if narrowed:
        return narrowed[0]
    for model in models:
        for name, info in model.model_fields.items():
            if step in (name, info.alias):
                annotation = info.annotation
                return annotation
    return kind
