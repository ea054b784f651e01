"""From a file to a checked experiment: parse, patch each arm, validate, check. Every problem comes out at once.

An arm is the spec with its patch merged in, validated as a spec of its own: there is no second rule for arms.
A problem that all arms share has one place in the file and is said once.
"""

from __future__ import annotations

import difflib
import os
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orcac.errors import InputError
from orcac.spec.check import check
from orcac.spec.problems import Problem, SpecErrors
from orcac.spec.schema import FormBenchmark, JsonlBenchmark, ReplayEndpoint, Spec, _Files
from orcac.spec.source import Tree, merge, parse

BASE = "base"


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    spec: Spec
    messages: dict[int, str]  # the library with the spec's own messages laid over it
    files: dict[tuple[str | int, ...], list[Path]]  # path in the spec -> the local files that it names, sorted
    left_out: tuple[str, ...]  # optional benchmarks that are not there
    base: Path | None  # the folder of a pretrained student


@dataclass(frozen=True, slots=True)
class Experiment:
    path: Path
    arms: dict[str, Arm]  # the base first

    @property
    def base(self) -> Arm:
        return self.arms[BASE]


def load(path: Path) -> Experiment:
    """Raises SpecErrors with every problem of the file and its arms, InputError when it cannot be read."""
    tree = parse(path)
    ablations = tree.value.get("ablations")
    whole = merge(tree, Tree({"ablations": Tree(None, tree.mark)}, tree.mark, {"ablations": tree.mark}))
    patches = {BASE: Tree({}, tree.mark)}
    problems: list[Problem] = []
    if ablations is not None and isinstance(ablations.value, dict):
        for name, patch in ablations.value.items():
            if name == BASE:
                problems.append(Problem(ablations.key_marks[name], "`base` is the spec itself; choose another name"))
            elif not isinstance(patch.value, dict):
                problems.append(Problem(patch.mark, f"the arm `{name}` must be a map that patches the spec"))
            elif "ablations" in patch.value:
                problems.append(Problem(patch.key_marks["ablations"], "an arm cannot hold arms"))
            else:
                patches[name] = patch
    arms: dict[str, Arm] = {}
    for name, patch in patches.items():
        try:
            arms[name] = _arm(name, merge(whole, patch), path, tree if name == BASE else None)
        except SpecErrors as error:
            problems.extend(error.problems)
    if problems:
        raise SpecErrors(problems)
    return Experiment(path=path, arms=arms)


def _arm(name: str, tree: Tree, path: Path, original: Tree | None) -> Arm:
    # the base is validated with its ablations, so that bad arm names are found; an arm is validated without
    whole = original if original is not None else tree
    try:
        spec = Spec.model_validate(whole.plain())
    except ValidationError as error:
        raise SpecErrors(_problem(whole, details) for details in error.errors()) from None
    problems: list[Problem] = []
    messages = _messages(spec, tree, path.parent, problems)
    found = _find_files(spec, tree, path.parent, problems)
    problems += [Problem(tree.place(where), message) for where, message in check(spec, set(messages))]
    if problems:
        raise SpecErrors(problems)
    return Arm(name=name, spec=spec, messages=messages, files=found.files, left_out=found.left_out, base=found.base)


# --- pydantic's errors in our words ------------------------------------------------------------------------------


def _problem(tree: Tree, error: ErrorDetails) -> Problem:
    steps = _steps(tree, error["loc"])
    kind, key = error["type"], str(error["loc"][-1]) if error["loc"] else ""
    on_key = key == "[key]"
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return Problem(tree.place([*steps, key], key=True), f"unknown key `{key}`; {hint}")
    if kind == "missing":
        return Problem(tree.place(steps), f"`{key}` is missing here")
    if kind == "string_pattern_mismatch":
        text = "a name is made of letters, digits, `.`, `_` and `-`, at most 63, and starts with a letter or digit"
        return Problem(tree.place(steps, key=on_key), f"`{error['input']}`: {text}")
    if kind == "union_tag_not_found":
        key = str(error.get("ctx", {}).get("discriminator", "")).strip("'")
        return Problem(tree.place(steps), f"`{key}` is missing here")
    if kind == "union_tag_invalid":
        context = error["ctx"]
        tag = str(context["discriminator"]).strip("'")
        message = f"`{tag}: {context['tag']}` is not known; known: {context['expected_tags']}".replace("'", "")
        return Problem(tree.place([*steps, tag]), message)
    message = error["msg"].replace("Input should be", "this should be").replace("valid tuple", "list, as in [a, b]")
    return Problem(tree.place(steps, key=on_key), message[0].lower() + message[1:])


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


# --- files that a spec names ---------------------------------------------------------------------------------------


def _messages(spec: Spec, tree: Tree, folder: Path, problems: list[Problem]) -> dict[int, str]:
    """The numbered messages: the library's, then the spec's own. 1 is the empty message unless either redefines it."""
    messages = {1: ""}
    library = spec.system_messages.library
    place = tree.place(["system_messages", "library"])
    if library:
        try:
            (path,) = _expand(library, folder)
            listed = parse(path).value["messages"].plain()
            messages |= {int(number): str(entry["text"]) for number, entry in listed.items()}
        except SpecErrors as error:
            problems.extend(error.problems)
        except InputError as error:
            problems.append(Problem(place, error.message))
        except (KeyError, TypeError, ValueError, AttributeError):
            problems.append(Problem(place, f"{library}: not a library; write `messages: {{1: {{text: ...}}, ...}}`"))
    return messages | spec.system_messages.messages


@dataclass(frozen=True, slots=True)
class _Found:
    files: dict[tuple[str | int, ...], list[Path]]
    left_out: tuple[str, ...]
    base: Path | None


def _find_files(spec: Spec, tree: Tree, folder: Path, problems: list[Problem]) -> _Found:
    files: dict[tuple[str | int, ...], list[Path]] = {}
    left_out: list[str] = []

    def find(where: tuple[str | int, ...], patterns: tuple[str, ...]) -> None:
        try:
            files[where] = _readable(patterns, folder)
        except InputError as error:
            problems.append(Problem(tree.place(where), error.message))

    for section, sources in (("queries", spec.queries), ("benchmarks", spec.benchmarks)):
        for name, source in sources.items():
            if not isinstance(source, _Files):
                continue
            if isinstance(source, FormBenchmark | JsonlBenchmark) and source.optional:
                try:
                    _readable(source.path, folder)
                except InputError:
                    left_out.append(name)
                    continue
            find((section, name, "path"), source.path)
    for name, teacher in spec.teachers.items():
        if isinstance(teacher.endpoint, ReplayEndpoint):
            find(("teachers", name, "endpoint", "path"), teacher.endpoint.path)
            if teacher.endpoint.questions:
                find(("teachers", name, "endpoint", "questions"), teacher.endpoint.questions)
    base = None
    if spec.student.base is not None:
        where = ("student", "base")
        try:
            base, *_ = _expand(spec.student.base, folder)
            if not (base / "config.json").is_file():
                raise InputError(f"{base}: not a model directory (no config.json in it)")
            found = [path for path in base.rglob("*") if path.is_file()]
            # hidden files are the downloader's notes, with times in them
            seen = [path for path in found if not any(part.startswith(".") for part in path.relative_to(base).parts)]
            files[where] = _readable(tuple(str(path.absolute()) for path in seen), folder)
        except InputError as error:
            problems.append(Problem(tree.place(where), error.message))
    return _Found(files=files, left_out=tuple(left_out), base=base)


def _readable(patterns: tuple[str, ...], folder: Path) -> list[Path]:
    """The files that the patterns name, each once. Raises InputError where one is no file or cannot be read."""
    paths = sorted({path for pattern in patterns for path in _expand(pattern, folder)})
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the files in it, as in `{path.name}/*.jsonl`")
        if not path.is_file() or not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read")
    return paths


def _expand(pattern: str, folder: Path) -> list[Path]:
    """The paths that a path or glob names, relative to `folder`; `${NAME}` is the environment's."""

    def variable(found: re.Match[str]) -> str:
        if not os.environ.get(found[1]):
            raise InputError(f"the environment variable {found[1]} is not set; `{pattern}` needs it")
        return os.environ[found[1]]

    text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", variable, pattern)
    path = folder / text
    try:
        if path.exists():
            return [path]
        anchor = Path(path.anchor or ".")
        found = sorted(anchor.glob(str(path.relative_to(path.anchor)) if path.anchor else str(path)))
    except (OSError, ValueError) as error:
        raise InputError(f"`{pattern}` is not a path or glob ({error})") from None
    if not found:
        raise InputError(f"`{pattern}` matches no file (looked for {path})")
    return found
