"""The arms of a spec, as trees: the base, a patch on it for each ablation, and each of them at each point of the sweep.

A sweep's arm is named `ARM.KEY-VALUE`, as in `no-assistant.epochs-2`; the key is the last part of its path, or all of
it where two paths end alike. A point whose values are the arm's own already is that arm, and is not made again.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from orcac.spec.problems import Mark, Problem
from orcac.spec.source import Tree, merge, put

BASE = "base"
MAX_ARMS = 10_000
_PATCH = "{stages: {expert: {epochs: 1}}}"
_WHOLE = ("ablations", "sweep", "extends", "name", "orcac")  # what an arm cannot have of its own


@dataclass(frozen=True, slots=True)
class Variant:
    tree: Tree  # a whole spec, without arms
    mark: Mark  # where it was named


@dataclass(frozen=True, slots=True)
class _Point:
    """One value of one swept path."""

    path: tuple[str, ...]
    name: str
    value: Tree
    mark: Mark


def variants(tree: Tree, problems: list[Problem]) -> dict[str, Variant]:
    """Arm -> variant, the base first. What is wrong with the arms as such is added to `problems`."""
    base = Tree(
        {key: value for key, value in tree.value.items() if key not in ("ablations", "sweep")},
        tree.mark,
        tree.key_marks,
    )
    found = {BASE: Variant(base, tree.mark)} | _patched(base, tree.value.get("ablations"), problems)
    axes = _axes(base, tree.value.get("sweep"), problems)
    size = len(found)
    for axis in axes:
        size *= len(axis)
    if size > MAX_ARMS:
        problems.append(
            Problem(
                tree.place(["sweep"]), f"the sweep makes {size:,} arms; {MAX_ARMS:,} are allowed; give fewer values"
            )
        )
        return found
    for name, variant in list(found.items()) if axes else ():
        for points in itertools.product(*axes):
            swept = variant.tree
            if all(_says(swept, point) for point in points):
                continue
            for point in points:
                swept = put(swept, point.path, point.value, point.mark)
            arm = ".".join([name, *(point.name for point in points)])
            if arm in found:
                problems.append(Problem(points[0].mark, f"the sweep makes the arm `{arm}`, which there is already"))
            found[arm] = Variant(swept, points[-1].value.mark)
    return found


def _patched(base: Tree, ablations: Tree | None, problems: list[Problem]) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    if ablations is None or not isinstance(ablations.value, dict):
        return found  # what is no map is the schema's to refuse
    for name, patch in ablations.value.items():
        mark = ablations.key_marks[name]
        if name == BASE:
            problems.append(Problem(mark, "`base` is the spec itself; choose another name"))
        elif not isinstance(patch.value, dict):
            problems.append(
                Problem(patch.mark, f"the arm `{name}` must be a map that patches the spec, as in {_PATCH}")
            )
        elif own := [key for key in _WHOLE if key in patch.value]:
            problems.append(Problem(patch.key_marks[own[0]], f"an arm cannot have `{own[0]}` of its own; leave it out"))
        else:
            tree = merge(base, patch)
            if tree.same(base):
                problems.append(
                    Problem(mark, f"the arm `{name}` changes nothing: the spec says all of it already; leave it out")
                )
            found[name] = Variant(tree, mark)
    return found


def _axes(base: Tree, sweep: Tree | None, problems: list[Problem]) -> list[list[_Point]]:
    if sweep is None or not isinstance(sweep.value, dict):
        return []
    paths = {text: _path(base, text) for text in sweep.value}
    endings = Counter(path[-1] for path in paths.values())
    axes = []
    for text, values in sweep.value.items():
        path, mark = paths[text], sweep.key_marks[text]
        if path[0] in _WHOLE or not all(path):
            problems.append(Problem(mark, f"`{text}` cannot be swept; write a path such as `stages.expert.epochs`"))
        elif not isinstance(values.value, list) or not values.value:
            problems.append(Problem(values.mark, f"give `{text}` a list of values, as in [1, 2]"))
        else:
            key = path[-1] if endings[path[-1]] == 1 else text
            names = [_safe(f"{key}-{_spelt(value.plain(), number)}") for number, value in enumerate(values.value, 1)]
            points = zip(names, values.value, strict=True)
            axis = {name: _Point(path=path, name=name, value=value, mark=mark) for name, value in points}
            if len(axis) < len(names):
                problems.append(Problem(values.mark, f"two values of `{text}` are the same; leave one out"))
            axes.append(list(axis.values()))
    return axes


def _path(base: Tree, text: str) -> tuple[str, ...]:
    """A dotted path in steps. A name may hold dots itself: the longest that is there is taken."""
    path: list[str] = []
    at: Tree | None = base
    left = text.split(".")
    while left:
        size = 1
        if at is not None and isinstance(at.value, dict):
            known = at.value
            size = next((count for count in range(len(left), 0, -1) if ".".join(left[:count]) in known), 1)
        step = ".".join(left[:size])
        path, left = [*path, step], left[size:]
        at = at.value.get(step) if at is not None and isinstance(at.value, dict) else None
    return tuple(path)


def _says(tree: Tree, point: _Point) -> bool:
    """Whether a spec says this already: the very value, `1` being neither `1.0` nor `true`. What it lacks is null."""
    for step in point.path:
        if not isinstance(tree.value, dict) or step not in tree.value:
            return point.value.value is None
        tree = tree.value[step]
    return tree.same(point.value)


def _spelt(value: Any, number: int) -> str:
    """A value as part of a name; a list or map, or a long text, by its place in the sweep."""
    if isinstance(value, bool | int | float) or value is None:
        return json.dumps(value)
    return value if isinstance(value, str) and len(value) <= 24 else str(number)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
