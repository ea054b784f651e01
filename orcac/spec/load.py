"""From a file to a checked experiment: parse, extend, patch each arm, validate, check. Every problem comes out at once.

An arm is the spec with its patch merged in, validated as a spec of its own: there is no second rule for arms.
A problem that all arms share has one place in the file and is said once. What the schema refuses is cut out and the
rest is checked all the same, so that a misspelt key does not hide a dangling name.

A path is relative to the file that it is written in, also where another spec extends that file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from orcac.errors import InputError
from orcac.spec.arms import BASE, variants
from orcac.spec.check import check
from orcac.spec.paths import Finder, Found, substituted
from orcac.spec.problems import Mark, Problem, SpecErrors
from orcac.spec.schema import ReplayEndpoint, Spec, _Files
from orcac.spec.source import File, Tree, cut, merge, parse
from orcac.spec.wording import prune, worded

__all__ = ["BASE", "Arm", "Experiment", "File", "load"]

Where = tuple[str | int, ...]
_NAMED = ("queries", "teachers", "datasets", "stages", "benchmarks")  # maps whose names others refer to


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    mark: Mark  # where it was named
    tree: Tree  # as written, patches merged in; what no patch touched is the base's own tree
    spec: Spec
    messages: dict[int, str]  # the library with the spec's own messages laid over it
    found: dict[Where, Found]  # path in the spec -> the files that it names
    left_out: dict[str, str]  # benchmark that is `missing: skip` and not here -> why


@dataclass(frozen=True, slots=True)
class Experiment:
    file: File
    arms: dict[str, Arm]  # the base first

    @property
    def base(self) -> Arm:
        return self.arms[BASE]


def load(file: Path | File) -> Experiment:
    """Raises SpecErrors with every problem of the spec and its arms, InputError when it cannot be read."""
    file = file if isinstance(file, File) else File(file)
    problems: list[Problem] = []
    tree = _extended(file, problems, ())
    loader = _Loader(file, problems)
    if shape := loader.arms_shape(tree):
        problems.extend(shape)
    arms = {name: loader.arm(name, variant.tree, variant.mark) for name, variant in variants(tree, problems).items()}
    if problems:
        raise SpecErrors(problems)
    return Experiment(file=file, arms={name: arm for name, arm in arms.items() if arm})


def _extended(file: File, problems: list[Problem], below: tuple[File, ...]) -> Tree:
    """A spec's tree, laid over that of the spec it extends."""
    tree = parse(file, problems)
    named = tree.value.get("extends")
    if named is None:
        return tree
    if not isinstance(named.value, str) or not named.value:
        raise SpecErrors([*problems, Problem(named.mark, "`extends` names another spec by its path")])
    parent = file.beside(_normal(file.path.parent / named.value))
    chain = (*below, file)
    if any(_normal(parent.path) == _normal(one.path) for one in chain):
        ring = " -> ".join(one.path.name for one in (*chain, parent))
        raise SpecErrors([*problems, Problem(named.mark, f"extends itself: {ring}")])
    try:
        under = _extended(parent, problems, chain)
    except SpecErrors:
        raise
    except InputError as error:
        raise SpecErrors([*problems, Problem(named.mark, error.message)]) from None
    return merge(cut(under, ("extends",)), tree)


def _normal(path: Path) -> Path:
    """Without `..`, so that a spec is known again; relative where it was, as people are told it."""
    return Path(os.path.normpath(path))


@dataclass(slots=True)
class _Loader:
    """What the arms of one experiment share: the problems, and what was looked up already."""

    file: File
    problems: list[Problem]
    finder: Finder = field(default_factory=Finder)
    libraries: dict[Path, dict[int, str] | InputError] = field(default_factory=dict)

    def arms_shape(self, tree: Tree) -> list[Problem]:
        """What the schema says of `ablations` and `sweep` themselves: their names, and that they are maps."""
        parts = {key: tree.value[key] for key in ("ablations", "sweep") if key in tree.value}
        try:
            Spec.model_validate(cut(tree, *((key,) for key in tree.value if key not in parts)).plain())
        except ValidationError as error:
            return [worded(tree, one) for one in error.errors() if one["loc"][0] in parts]
        return []

    def arm(self, name: str, tree: Tree, mark: Mark) -> Arm | None:
        """The arm, or None where it has problems that leave nothing to check."""
        cuts: list[Where] = []
        whole = tree
        for _ in range(20):  # cutting one part out may leave another without what it needs
            try:
                spec = Spec.model_validate(tree.plain())
                break
            except ValidationError as error:
                details = error.errors()
            if not cuts:
                self.problems += [worded(tree, one) for one in details]
            further = prune(tree, details)
            if not further:
                return None
            cuts += further
            tree = cut(tree, *further)
        else:
            return None
        seen = _Seen(cuts)
        messages = self._messages(spec, tree, seen)
        found, left_out = self._found(spec, tree, seen)
        broken = {section: {str(c[1]) for c in cuts if c[0] == section and len(c) > 1} for section in _NAMED}
        for where, message in check(spec, set(messages), broken):
            seen.add(where, Problem(whole.place(where), message))
        self.problems += seen.problems
        return Arm(name=name, mark=mark, tree=tree, spec=spec, messages=messages, found=found, left_out=left_out)

    def _messages(self, spec: Spec, tree: Tree, seen: _Seen) -> dict[int, str]:
        """The numbered messages: the library's, then the spec's own. 1 is the empty message unless they redefine it."""
        messages, where = {1: ""}, ("system_messages", "library")
        if spec.system_messages.library:
            mark = tree.place(where)
            try:
                messages |= self._library(mark.folder / substituted(spec.system_messages.library))
            except SpecErrors as error:
                seen.problems.extend(error.problems)
            except InputError as error:
                seen.add(where, Problem(mark, error.message))
        return messages | spec.system_messages.messages

    def _library(self, path: Path) -> dict[int, str]:
        if path not in self.libraries:
            try:
                self.libraries[path] = _read_library(self.file.beside(_normal(path)))
            except InputError as error:
                self.libraries[path] = error
        found = self.libraries[path]
        if isinstance(found, InputError):
            raise found
        return found

    def _found(self, spec: Spec, tree: Tree, seen: _Seen) -> tuple[dict[Where, Found], dict[str, str]]:
        found: dict[Where, Found] = {}
        left_out: dict[str, str] = {}

        def find(where: Where, patterns: Iterable[str], *, later: bool = False) -> Found | None:
            written = [(text, tree.place([*where, index])) for index, text in enumerate(patterns)]
            for one in written:  # each by itself, so that every one that is wrong is told
                try:
                    self.finder.files([one], later=later)
                except InputError as error:
                    seen.add(where, Problem(one[1], error.message))
            with contextlib.suppress(InputError):
                found[where] = self.finder.files(written, later=later)
            return found.get(where)

        for section, sources in (("queries", spec.queries), ("benchmarks", spec.benchmarks)):
            for name, source in sources.items():
                if not isinstance(source, _Files):
                    continue
                missing = getattr(source, "missing", "error")
                what = find((section, name, "path"), source.path, later=missing != "error")
                if what and what.absent and missing == "skip":
                    left_out[name] = what.why
        for name, teacher in spec.teachers.items():
            if isinstance(teacher.endpoint, ReplayEndpoint):
                find(("teachers", name, "endpoint", "path"), teacher.endpoint.path)
                find(("teachers", name, "endpoint", "questions"), teacher.endpoint.questions)
        if spec.student.base is not None:
            where = ("student", "base")
            mark = tree.place(where)
            try:
                found[where] = self.finder.model(spec.student.base, mark)
            except InputError as error:
                seen.add(where, Problem(mark, error.message))
        return found, left_out


@dataclass(slots=True)
class _Seen:
    """Problems of an arm, but for those that only say that what was cut out is not there."""

    cuts: list[Where]
    problems: list[Problem] = field(default_factory=list)

    def add(self, where: Where, problem: Problem) -> None:
        if not any(where[: len(cut)] == cut or cut[: len(where)] == where for cut in self.cuts):
            self.problems.append(problem)


def _read_library(file: File) -> dict[int, str]:
    problems: list[Problem] = []
    try:
        listed = parse(file, problems).value["messages"].plain()
        if problems:
            raise SpecErrors(problems)
        return {int(number): str(entry["text"]) for number, entry in listed.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{file}: not a library; write `messages: {{1: {{text: ...}}, ...}}`") from None
