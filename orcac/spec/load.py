"""From a file to a checked experiment: parse, extend, patch each arm, validate, check. Every problem comes out at once.

An arm is the spec with its patch merged in, validated as a spec of its own: there is no second rule for arms. What it
shares with the base is the same tree, so it is validated, and its files are looked for, once.
A problem that all arms share has one place in the file and is said once; one that an arm brings about elsewhere names
the arm. What the schema refuses is cut out and the rest is checked all the same, so that a misspelt key does not hide
a dangling name, nor make one.

A path is relative to the file that it is written in, also where another spec extends that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orcac.errors import InputError
from orcac.spec.arms import BASE, variants
from orcac.spec.check import check
from orcac.spec.paths import Finder, Found, NotHere, substituted
from orcac.spec.problems import Mark, Problem, SpecErrors, shown
from orcac.spec.schema import LocalEndpoint, ReplayEndpoint, Spec, _Files
from orcac.spec.source import File, Tree, cut, merge, parse, put
from orcac.spec.wording import prune, worded

__all__ = ["BASE", "Arm", "Experiment", "File", "load"]

Where = tuple[str | int, ...]
MAX_EXTENDS = 20
_START = "the path starts at the folder of the file that it is written in"
_NAMED = ("queries", "teachers", "datasets", "stages")  # maps whose names others refer to
_STAND_INS: dict[str, Any] = {  # for what a spec must have and lacks, so that the rest can be checked
    "orcac": 1, "name": "unnamed", "teachers": {}, "datasets": {}, "student": {}, "stages": {}, "curriculum": [],
}  # fmt: skip


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
    loader = _Loader(file)
    problems += loader.arms_shape(tree)
    arms: dict[str, Arm] = {}
    found: dict[str, list[Problem]] = {}
    for name, variant in variants(tree, problems).items():
        arm, found[name] = loader.arm(name, variant.tree, variant.mark)
        if arm:
            arms[name] = arm
    problems += told(tree, found)
    if problems:
        raise SpecErrors(problems)
    return Experiment(file=file, arms=arms)


def told(tree: Tree, found: dict[str, list[Problem]]) -> list[Problem]:
    """The problems of all arms, the base first: each once, and one for each place, with the arms where it is theirs."""
    arms: dict[Problem, list[str]] = {}
    for name, problems in found.items():
        taken = {problem.mark for problem in arms}
        for problem in problems:
            if problem in arms or problem.mark not in taken:
                arms.setdefault(problem, []).append(name)
    own = set(tree.without("ablations", "sweep").marks()) if arms else set()
    every = []
    for problem, names in arms.items():
        if names[0] != BASE and problem.mark in own:  # it stands in the base, which is right by itself
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            problem = Problem(problem.mark, f"in the arm `{names[0]}`{more}: {problem.message}")
        every.append(problem)
    return every


def _extended(file: File, problems: list[Problem], below: tuple[File, ...]) -> Tree:
    """A spec's tree, laid over that of the spec it extends."""
    tree = parse(file, problems)
    named = tree.value.get("extends")
    if named is None:
        return tree
    if not isinstance(named.value, str) or not named.value:
        raise SpecErrors(
            [*problems, Problem(named.mark, "`extends` names another spec by its path, as in `extends: base.yaml`")]
        )
    parent = file.beside(_normal(file.path.parent / named.value))
    chain = (*below, file)
    if any(_normal(parent.path) == _normal(one.path) for one in chain):
        ring = " -> ".join(one.path.name for one in (*chain, parent))
        raise SpecErrors([*problems, Problem(named.mark, f"extends itself: {ring}; one of these must stand alone")])
    if len(chain) > MAX_EXTENDS:
        raise SpecErrors([*problems, Problem(named.mark, f"more than {MAX_EXTENDS} files extend one another")])
    try:
        under = _extended(parent, problems, chain)
    except SpecErrors as error:
        raise SpecErrors([*problems, *error.problems]) from None
    except InputError as error:
        raise SpecErrors([*problems, Problem(named.mark, f"{error.message}; {_START}")]) from None
    return _laid_over(under.without("extends"), tree)


def _laid_over(under: Tree, tree: Tree) -> Tree:
    """`tree` merged over `under`; the nulls in an arm's patch stay, for they are yet to remove something."""
    arms, own = under.value.get("ablations"), tree.value.get("ablations")
    merged = merge(under, tree)
    if own is None or not isinstance(own.value, dict):
        return merged
    patches = merge(arms or Tree({}, own.mark), own)
    for name, patch in own.value.items():
        if patch.value is not None:
            first = arms.value.get(name) if arms and isinstance(arms.value, dict) else None
            patches.value[name] = merge(first, patch, keep_nulls=True) if first else patch
    return put(merged, ["ablations"], patches, merged.key_marks["ablations"])


def _normal(path: Path) -> Path:
    """Without `..`, so that a spec is known again; relative where it was, as people are told it."""
    return Path(os.path.normpath(path))


@dataclass(slots=True)
class _Loader:
    """What the arms of one experiment share: what was validated or looked up already."""

    file: File
    finder: Finder = field(default_factory=Finder)
    base: tuple[Tree, Spec] | None = None  # once it is known to be sound
    looked: dict[tuple[int, Where], _Looked] = field(default_factory=dict)  # by the tree that says where
    libraries: dict[Path, dict[int, str] | InputError] = field(default_factory=dict)

    def arms_shape(self, tree: Tree) -> list[Problem]:
        """What the schema says of `ablations` and `sweep` themselves: their names, and that they are maps."""
        parts = {key: tree.value[key].plain() for key in ("ablations", "sweep") if key in tree.value}
        try:
            Spec.model_validate(_STAND_INS | parts)
        except ValidationError as error:
            swept = [one for one in error.errors() if one["loc"][0] == "sweep" and len(one["loc"]) > 1]
            # what a swept path holds is told by `variants`
            return worded(tree, [one for one in error.errors() if one["loc"][0] in parts and one not in swept])
        return []

    def arm(self, name: str, tree: Tree, mark: Mark) -> tuple[Arm | None, list[Problem]]:
        """The arm and its problems; None where these leave nothing to check."""
        whole = tree
        cuts: list[Where] = []
        problems: list[Problem] = []
        for _ in range(20):  # cutting one part out may leave another without what it needs
            try:
                spec = Spec.model_validate(self._unread(tree))
                break
            except ValidationError as error:
                details = error.errors()
            if not cuts:
                problems += worded(tree, details)
            lacking = [str(one["loc"][0]) for one in details if one["type"] == "missing" and len(one["loc"]) == 1]
            further = [*prune(tree, details), *((key,) for key in lacking)]
            if not further:
                return None, problems
            cuts += further
            tree = cut(tree, *further)
            for key in lacking:
                tree = put(tree, [key], Tree.of(_STAND_INS[key], tree.mark), tree.mark)
        else:
            return None, problems
        if name == BASE and not cuts:
            self.base = (tree, spec)
        seen = _Seen(cuts, problems)
        messages = self._messages(spec, tree, seen)
        found, left_out = self._found(spec, tree, seen)
        for where, message, given in check(spec, messages.keys(), _names(whole)):
            seen.add(where, Problem(whole.place(where), message), given)
        arm = Arm(name=name, mark=mark, tree=tree, spec=spec, messages=messages, found=found, left_out=left_out)
        return arm, problems

    def _unread(self, tree: Tree) -> dict[str, Any]:
        """A spec for the schema to validate, with what is the base's already in the base's form."""
        if self.base is None:
            return {key: part.plain() for key, part in tree.value.items()}
        base, spec = self.base
        content: dict[str, Any] = {}
        for key, part in tree.value.items():
            under, read = base.value.get(key), getattr(spec, key, None)
            if part is under:
                content[key] = read
            elif isinstance(read, dict) and isinstance(part.value, dict):
                shared = under.value if under is not None else {}
                content[key] = {
                    name: read[name] if shared.get(name) is item else item.plain() for name, item in part.value.items()
                }
            else:
                content[key] = part.plain()
        return content

    def _messages(self, spec: Spec, tree: Tree, seen: _Seen) -> dict[int, str]:
        """The numbered messages: the library's, then the spec's own. 1 is the empty message unless they redefine it."""
        messages, where = {1: ""}, ("system_messages", "library")
        if any(cut[:2] == ("system_messages", "messages") for cut in seen.cuts):
            seen.cuts.append(("system_messages", "messages"))  # a number that is broken may be any
        if spec.system_messages.library:
            mark = tree.place(where)
            try:
                messages |= self._library(mark.folder / substituted(spec.system_messages.library))
            except SpecErrors as error:
                seen.problems.extend(error.problems)
                seen.cuts.append(where)
            except InputError as error:
                seen.add(where, Problem(mark, f"{error.message}; {_START}"))
                seen.cuts.append(where)
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

        def find(where: Where, patterns: Sequence[str], *, later: bool = False) -> Found | None:
            part = tree.at(where[:2])
            if (id(part), where) not in self.looked:
                written = [(text, tree.place([*where, index])) for index, text in enumerate(patterns)]
                self.looked[id(part), where] = self._look(part, where, written, later)
            looked = self.looked[id(part), where]
            for problem in looked.problems:
                seen.add(where, problem)
            if looked.found is not None:
                found[where] = looked.found
            return looked.found

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
        models: dict[Where, str] = {
            ("teachers", name, "endpoint", "path"): teacher.endpoint.path
            for name, teacher in spec.teachers.items()
            if isinstance(teacher.endpoint, LocalEndpoint)
        }
        if spec.student.base is not None:
            models["student", "base"] = spec.student.base
        for where, text in models.items():
            mark = tree.place(where)
            try:
                found[where] = self.finder.model(text, mark)
            except InputError as error:
                seen.add(where, Problem(mark, _said(error)))
        return found, left_out

    def _look(self, part: Tree, where: Where, written: list[tuple[str, Mark]], later: bool) -> _Looked:
        problems = []
        for one in written:  # each by itself, so that every one that is wrong is told
            try:
                self.finder.files([one], later=later)
            except NotHere as error:
                later_too = where[0] in ("queries", "benchmarks")
                more = "; or write `missing: later`, and it is planned for until it is" if later_too else ""
                problems.append(Problem(one[1], f"{error.message}{more}"))
            except InputError as error:
                problems.append(Problem(one[1], _said(error)))
        return _Looked(part, None if problems else self.finder.files(written, later=later), problems)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the paths at a place turned out to name."""

    part: Tree  # kept, so that no other gets its identity
    found: Found | None
    problems: list[Problem]


def _said(error: InputError) -> str:
    return f"{error.message}; {error.fix}" if error.fix else error.message


def _names(tree: Tree) -> dict[str, Set[str]]:
    """What each map of names defines, whether the schema refused it or not."""
    found = {section: tree.value.get(section) for section in _NAMED}
    return {key: part.value.keys() if part and isinstance(part.value, dict) else set() for key, part in found.items()}


@dataclass(slots=True)
class _Seen:
    """Problems of an arm, but for those that only say that what was cut out is not there."""

    cuts: list[Where]
    problems: list[Problem]

    def add(self, where: Where, problem: Problem, given: Iterable[Where] = ()) -> None:
        if not any(where[: len(cut)] == cut or cut[: len(where)] == where for cut in self.cuts) and not any(
            cut == part[: len(cut)] for part in given for cut in self.cuts
        ):
            self.problems.append(problem)


def _read_library(file: File) -> dict[int, str]:
    """The messages of a library, by number. Raises SpecErrors for what is wrong in it, InputError where it is none."""
    problems: list[Problem] = []
    tree = parse(file, problems, "a library")
    form = "write `messages: {1: {text: ...}, ...}`"
    found: dict[int, str] = {}
    listed = tree.value.get("messages")
    if listed is None or not isinstance(listed.value, dict):
        problems.append(Problem(listed.mark if listed else tree.mark, f"a library is a map of messages; {form}"))
    for number, entry in listed.value.items() if listed and isinstance(listed.value, dict) else ():
        mark = listed.key_marks[number]
        text = entry.value.get("text") if isinstance(entry.value, dict) else None
        if not number.isdecimal() or len(number) > 9:
            problems.append(Problem(mark, f"messages are numbered; {shown(number)} is no number; {form}"))
        elif text is None:
            problems.append(Problem(mark, f"message {number} has no `text`; {form}"))
        elif not isinstance(text.value, str):
            problems.append(Problem(text.mark, f"the text of message {number} is no text; {form}"))
        else:
            found[int(number)] = text.value
    if problems:
        raise SpecErrors(problems)
    return found
