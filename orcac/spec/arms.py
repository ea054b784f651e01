"""The arms of a spec, as trees: the base, the base with each ablation's patch, and each of these at each sweep point.

An arm of a sweep is named `ARM.KEY-VALUE`, as in `no-assistant.epochs-2`. KEY is the last part of the swept path, or
the whole path if two swept paths end alike. A sweep point whose values the arm already has is that arm, so it is not
made again. `*` in a path stands for every key that the arm has there: `stages.*.learning_rate` gives all its stages one
value.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from orcac.spec.finding import join_names
from orcac.spec.problems import Mark, Problem
from orcac.spec.source import Tree, merge, put

BASE = "base"
MAX_ARMS = 10_000
_EXAMPLE = "{stages: {expert: {epochs: 1}}}"
_EVERY = "*"
_REPLICATES = "replicates"  # an arm may have its own, but they make no arm: they are pooled
_SHARED = ("ablations", "sweep", "primary", "extends", "name", "orcac")  # keys that all arms have in common


@dataclass(frozen=True, slots=True)
class Variant:
    """The tree of one arm."""

    tree: Tree  # a complete spec, without `ablations` and `sweep`
    mark: Mark  # the place that names the arm


@dataclass(frozen=True, slots=True)
class _Point:
    """One value of one swept path."""

    path: tuple[str, ...]
    name: str  # the arm's name ends with it
    value: Tree
    mark: Mark


def expand_arms(tree: Tree, problems: list[Problem]) -> dict[str, Variant]:
    """Return the variant of each arm by name, the base first. Errors in `ablations` and `sweep` go to `problems`."""
    base = tree.without("ablations", "sweep")
    variants = {BASE: Variant(base, tree.mark)} | _apply_ablations(base, tree.entries.get("ablations"), problems)
    axes = _read_sweep([variant.tree for variant in variants.values()], tree.entries.get("sweep"), problems)
    size = len(variants)
    for axis in axes:
        size *= len(axis)
    if size > MAX_ARMS:
        message = f"the sweep makes {size:,} arms; {MAX_ARMS:,} are allowed; give fewer values"
        problems.append(Problem(tree.locate(["sweep"]), message))
        return variants
    for name, variant in list(variants.items()) if axes else ():
        for points in itertools.product(*axes):
            swept = variant.tree
            if all(_has_value(swept, path, point.value) for point in points for path in _match(swept, point.path)):
                continue
            for point in points:
                for path in _match(swept, point.path):
                    swept = put(swept, path, point.value, point.mark)
            arm = ".".join([name, *(point.name for point in points)])
            if arm in variants:
                message = f"the sweep makes the arm `{arm}`, but an arm of this name exists already"
                problems.append(Problem(points[0].mark, message))
            variants[arm] = Variant(swept, points[-1].value.mark)
    return variants


def check_primary(tree: Tree, arms: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each entry of `primary` that is not the name of one of `arms`, or is there twice.

    An entry that is not a text is left to the schema.
    """
    section, known = tree.entries.get("primary"), [arm for arm in arms if arm != BASE]
    if section is None or not isinstance(section.value, list):
        return
    if not section.value:
        message = (
            "`primary` names no arm; leave it out to give all arms verdicts, or write `primary: false` in each "
            "benchmark to give none"
        )
        yield Problem(section.mark, message)
    seen = set[str]()
    for item in section.value:
        name = item.value
        if not isinstance(name, str):
            continue
        if name == BASE:
            yield Problem(item.mark, "the arms are compared with `base`, so it is not one of them; remove it")
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            yield Problem(item.mark, f"`primary` names `{name}`, which is not an arm; {hint}arms: {join_names(known)}")
        elif name in seen:
            yield Problem(item.mark, f"`primary` names `{name}` twice; remove one")
        seen.add(name)


def _apply_ablations(base: Tree, ablations: Tree | None, problems: list[Problem]) -> dict[str, Variant]:
    """Return the variant of each valid ablation. Errors go to `problems`.

    If `ablations` is not a map at all, the schema reports that, and no arm is returned.
    """
    variants: dict[str, Variant] = {}
    if ablations is None:
        return variants
    for name, patch in ablations.entries.items():
        mark = ablations.key_marks[name]
        if name == BASE:
            problems.append(Problem(mark, "`base` is the name of the spec itself; choose another name"))
        elif not patch.is_map:
            message = f"the arm `{name}` must be a map that patches the spec, as in {_EXAMPLE}"
            problems.append(Problem(patch.mark, message))
        elif shared := [key for key in _SHARED if key in patch.entries]:
            message = f"an arm cannot have its own `{shared[0]}`; remove it"
            problems.append(Problem(patch.key_marks[shared[0]], message))
        else:
            tree = merge(base, patch)
            if tree.without(_REPLICATES).equals(base.without(_REPLICATES)):
                message = f"the arm `{name}` changes nothing: the spec has all these values already; remove it"
                if not tree.equals(base):
                    message = f"the arm `{name}` changes only how often it is trained; write `replicates` in the spec"
                problems.append(Problem(mark, message))
            variants[name] = Variant(tree, mark)
    return variants


def _read_sweep(arms: list[Tree], sweep: Tree | None, problems: list[Problem]) -> list[list[_Point]]:
    """Return the points of each swept path, one list per path. The first of `arms` is the base."""
    if sweep is None or not sweep.is_map:
        return []
    paths = {text: _split_path(arms[0], text) for text in sweep.entries}
    endings = Counter(path[-1] for path in paths.values())
    axes = []
    for text, values in sweep.entries.items():
        path, mark = paths[text], sweep.key_marks[text]
        if path[0] in (*_SHARED, _REPLICATES) or not all(path) or path[-1] == _EVERY:
            message = f"`{text}` cannot be swept; write a path such as `stages.expert.epochs`"
            problems.append(Problem(mark, message))
        elif not any(_match(arm, path) for arm in arms):
            message = f"`{text}` matches nothing: no arm has a map in place of `*`; write a path such as "
            problems.append(Problem(mark, message + "`stages.*.epochs`"))
        elif not isinstance(values.value, list) or not values.value:
            problems.append(Problem(values.mark, f"give `{text}` a list of values, as in [1, 2]"))
        else:
            key = path[-1] if endings[path[-1]] == 1 else text
            names = [_sanitize(f"{key}-{_label(value.plain(), at)}") for at, value in enumerate(values.value, 1)]
            points = zip(names, values.value, strict=True)
            axis = {name: _Point(path=path, name=name, value=value, mark=mark) for name, value in points}
            if len(axis) < len(names):
                problems.append(Problem(values.mark, f"two values of `{text}` are the same; remove one"))
            axes.append(list(axis.values()))
    return axes


def _split_path(base: Tree, text: str) -> tuple[str, ...]:
    """Split a dotted path into keys. A key may contain dots, so the longest key that `base` has is taken."""
    path: list[str] = []
    at: Tree | None = base
    left = text.split(".")
    while left:
        keys = at.entries if at is not None else {}
        size = next((count for count in range(len(left), 0, -1) if ".".join(left[:count]) in keys), 1)
        step = ".".join(left[:size])
        path, left = [*path, step], left[size:]
        at = keys.get(step)
    return tuple(path)


def _match(tree: Tree, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the paths in a spec that a swept path stands for: itself, or with `*` one for each map there."""
    if _EVERY not in path:
        return [path]
    at = path.index(_EVERY)
    for step in path[:at]:
        tree = tree.entries.get(step, Tree({}, tree.mark))
    return [
        (*path[:at], key, *rest)
        for key, entry in tree.entries.items()
        if entry.is_map
        for rest in _match(entry, path[at + 1 :])
    ]


def _has_value(tree: Tree, path: tuple[str, ...], value: Tree) -> bool:
    """Return whether a spec has a swept value already, of the same type (1 is not 1.0). A missing key is null."""
    for step in path:
        if step not in tree.entries:
            return value.value is None
        tree = tree.entries[step]
    return tree.equals(value)


def _label(value: JsonValue, number: int) -> str:
    """Return a value as a part of an arm's name: itself, or `number` for a list, a map or a text of over 24 letters."""
    if isinstance(value, bool | int | float) or value is None:
        return json.dumps(value)
    return value if isinstance(value, str) and len(value) <= 24 else str(number)


def _sanitize(name: str) -> str:
    """Return a name with `-` for each run of characters that a file name cannot safely contain."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
