"""From a file to a checked experiment: parse, extend, patch each arm, validate, check; all problems come at once.

An arm is the spec with its patch merged in, validated as a spec of its own, so no rule exists twice. The part that an
arm shares with the base is the same tree, so it is validated, and its files are looked up, once.

A problem that all arms share has one place in the file and is reported once; a problem that an arm causes elsewhere
names the arm. The parts that the schema refuses are cut out and the rest is still checked, so that a misspelt key
neither hides a dangling name nor causes one.

A path is relative to the file that contains it, also if another spec extends that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from orcac.errors import InputError
from orcac.score.recipe import JudgePrompt
from orcac.spec.arms import BASE, check_primary, expand_arms
from orcac.spec.check import check, check_arm
from orcac.spec.columns import check_columns
from orcac.spec.judges import Prompts, find_prompts
from orcac.spec.leaks import find_leaks
from orcac.spec.library import Libraries, number_messages
from orcac.spec.paths import FileSet, Finder, MissingFileError, substitute_variables
from orcac.spec.problems import Mark, Problem, SpecErrors, SpecPath
from orcac.spec.same_as import FIGURES, find_mistake
from orcac.spec.schema import (
    FileSource,
    LocalEndpoint,
    OpenBenchmark,
    ReplayEndpoint,
    SameAs,
    Spec,
    TableBenchmark,
    TableQueries,
)
from orcac.spec.source import File, Tree, cut, merge, parse, put
from orcac.spec.wording import explain_errors, find_refused

__all__ = ["BASE", "Arm", "Experiment", "File", "load"]

MAX_EXTENDS = 20
_RELATIVE = "a path is relative to the folder of the file that contains it"
_NAME_MAPS = ("queries", "teachers", "datasets", "stages", "judges", "benchmarks")  # sections whose names are checked
_STAND_INS: dict[str, JsonValue] = {"orcac": 1, "name": "unnamed"}  # for missing keys, so that the rest can be checked


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of an experiment, validated and checked."""

    name: str
    mark: Mark  # the place that names the arm
    tree: Tree  # as written, patches merged in; the parts that no patch changes are the base's own trees
    spec: Spec
    messages: dict[int, str]  # the system messages of the library and of the spec
    files: dict[SpecPath, FileSet]  # by the path of the field that names them
    prompts: dict[str, dict[str, JudgePrompt]]  # judge -> task -> its prompt; "" is the task of all others
    left_out: dict[str, str]  # benchmark with `missing: skip` whose files are missing -> the error message


@dataclass(frozen=True, slots=True)
class Experiment:
    """A spec file with all its arms."""

    file: File
    arms: dict[str, Arm]  # the base first

    @property
    def base(self) -> Arm:
        return self.arms[BASE]


def load(file: Path | File) -> Experiment:
    """Read a spec and its arms. Raises SpecErrors with every problem, InputError if the file cannot be read."""
    file = file if isinstance(file, File) else File(file)
    problems: list[Problem] = []
    tree = _parse_extended(file, problems, ())
    if {"experiments", "nodes"} <= tree.entries.keys():
        raise SpecErrors([Problem(tree.mark, "this is a plan, which `orcac compile` wrote; give the spec instead")])
    loader = _ArmLoader(file)
    of_arms = loader.check_sections_of_arms(tree)
    variants = expand_arms(tree, of_arms)
    problems += of_arms or check_primary(tree, variants)  # a name may be unknown since its arm is refused
    arms: dict[str, Arm] = {}
    arm_problems: dict[str, list[Problem]] = {}
    for name, variant in variants.items():
        arm, arm_problems[name] = loader.load(name, variant.tree, variant.mark)
        if arm:
            arms[name] = arm
    if arms.keys() == arm_problems.keys():
        for name, problem in _find_wrong_lengths(arms):
            arm_problems[name].append(problem)
        if not any(arm_problems.values()):
            problems += _find_unclaimed(arms)
    problems += merge_problems(tree, arm_problems)
    leaks = [*find_leaks(tree)]
    places = {str(leak.mark) for leak in leaks}
    problems = [problem for problem in problems if str(problem.mark) not in places] + leaks
    if problems:
        raise SpecErrors(problems)
    return Experiment(file=file, arms=arms)


def _find_wrong_lengths(arms: Mapping[str, Arm]) -> Iterator[tuple[str, Problem]]:
    """Yield the arm and the problem of each stage that is as long, or whose data are as large, as one that is not."""
    specs = {name: arm.spec for name, arm in arms.items()}
    for name, arm in arms.items():
        for stage in arm.spec.curriculum:
            given = arm.spec.stages.get(stage)
            for figure in FIGURES:
                is_same = isinstance(getattr(given, figure, None), SameAs)
                if is_same and (mistake := find_mistake(specs, name, stage, figure)):
                    yield name, Problem(arm.tree.locate(("stages", stage, figure)), mistake)


def _find_unclaimed(arms: Mapping[str, Arm]) -> Iterator[Problem]:
    """Yield the problem of each primary arm that gets no verdict on any benchmark."""
    base = arms[BASE]
    primary = {name for name, benchmark in base.spec.benchmarks.items() if benchmark.primary}
    for index, name in enumerate(base.spec.primary or ()):
        if name in arms and not primary & arms[name].spec.benchmarks.keys():
            message = f"`{name}` gets no verdict: it and the base share no benchmark that is primary; remove it"
            yield Problem(base.tree.locate(("primary", index)), message)


def merge_problems(tree: Tree, arm_problems: dict[str, list[Problem]]) -> list[Problem]:
    """Merge the problems of all arms, the base first: one per place, naming the arms if the base does not have it."""
    arms: dict[Problem, list[str]] = {}
    for name, problems in arm_problems.items():
        places = {problem.mark for problem in arms}
        for problem in problems:
            if problem in arms or problem.mark not in places:
                arms.setdefault(problem, []).append(name)
    base_places = set(tree.without("ablations", "sweep").marks()) if arms else set()
    merged = []
    for problem, names in arms.items():
        if names[0] != BASE and problem.mark in base_places:  # the place looks right without the arm's name
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            problem = Problem(problem.mark, f"in the arm `{names[0]}`{more}: {problem.message}")
        merged.append(problem)
    return merged


def _parse_extended(file: File, problems: list[Problem], extending: tuple[File, ...]) -> Tree:
    """Return a spec's tree, laid over the tree of the spec that it extends. `extending` is the chain of files so far.

    Raises SpecErrors if a file of the chain is missing, is not YAML or extends itself.
    """
    tree = parse(file, problems)
    extends = tree.entries.get("extends")
    if extends is None:
        return tree
    if not isinstance(extends.value, str) or not extends.value:
        message = "`extends` must be the path of another spec, as in `extends: base.yaml`"
        raise SpecErrors([*problems, Problem(extends.mark, message)])
    parent = file.with_path(file.path.parent / extends.value)
    chain = (*extending, file)
    if any(str(parent.path) == os.path.normpath(one.path) for one in chain):
        cycle = " -> ".join(one.path.name for one in (*chain, parent))
        message = f"this spec extends itself: {cycle}; remove one `extends`"
        raise SpecErrors([*problems, Problem(extends.mark, message)])
    if len(chain) > MAX_EXTENDS:
        message = f"more than {MAX_EXTENDS} files extend one another; {MAX_EXTENDS} are allowed"
        raise SpecErrors([*problems, Problem(extends.mark, message)])
    try:
        base = _parse_extended(parent, problems, chain)
    except SpecErrors as error:
        raise SpecErrors([*problems, *error.problems]) from None
    except InputError as error:
        raise SpecErrors([*problems, Problem(extends.mark, f"{error.message}; {_RELATIVE}")]) from None
    return _lay_over(base.without("extends"), tree)


def _lay_over(base: Tree, tree: Tree) -> Tree:
    """Return `tree` merged over `base`. Nulls inside an arm's patch are kept, since they remove a value of the spec."""
    base_arms, arms = base.entries.get("ablations"), tree.entries.get("ablations")
    merged = merge(base, tree)
    if arms is None or not arms.is_map:
        return merged
    patches = merge(base_arms or Tree({}, arms.mark), arms)
    inherited = base_arms.entries if base_arms else {}
    own = {
        name: merge(inherited[name], patch, keep_nulls=True) if name in inherited else patch
        for name, patch in arms.entries.items()
        if patch.value is not None
    }
    patches = Tree({**patches.entries, **own}, patches.mark, patches.key_marks)
    return put(merged, ["ablations"], patches, merged.key_marks["ablations"])


@dataclass(slots=True)
class _ArmLoader:
    """A loader of the arms of one experiment, which keeps the results that they share."""

    file: File
    finder: Finder = field(default_factory=Finder)
    libraries: Libraries = field(init=False)
    prompts: Prompts = field(init=False)
    base: tuple[Tree, Spec] | None = None  # set once the base is valid
    lookups: dict[tuple[int, SpecPath], _Lookup] = field(default_factory=dict)  # by the id of the tree with the path
    columns: dict[tuple[int, SpecPath], list[tuple[SpecPath, Problem]]] = field(default_factory=dict)  # likewise

    def __post_init__(self) -> None:
        self.libraries, self.prompts = Libraries(self.file), Prompts(self.file)

    def check_sections_of_arms(self, tree: Tree) -> list[Problem]:
        """Return the schema's errors for `ablations` and `sweep` themselves: wrong types and wrong names."""
        sections = {key: tree.entries[key].plain() for key in ("ablations", "sweep") if key in tree.entries}
        try:
            Spec.model_validate(_STAND_INS | sections)
        except ValidationError as error:
            # the values of a swept path are checked by `expand_arms`
            swept = [one for one in error.errors() if one["loc"][0] == "sweep" and len(one["loc"]) > 1]
            own = [one for one in error.errors() if one["loc"][0] in sections and one not in swept]
            return explain_errors(tree, own)
        return []

    def load(self, name: str, tree: Tree, mark: Mark) -> tuple[Arm | None, list[Problem]]:
        """Return the arm and its problems; None instead of the arm if they leave nothing to check."""
        whole = tree
        cuts: list[SpecPath] = []
        problems: list[Problem] = []
        for _ in range(20):  # cutting out one part may leave another part without a required one
            try:
                spec = Spec.model_validate(self._reuse_base(tree))
                break
            except ValidationError as error:
                # a default that is computed from a refused part follows from that part's own error
                details = [one for one in error.errors() if one["type"] != "default_factory_not_called"]
            if not cuts:
                problems += explain_errors(tree, details, self.base[0] if self.base else None)
            lacking = [str(one["loc"][0]) for one in details if one["type"] == "missing" and len(one["loc"]) == 1]
            more = [*find_refused(tree, details), *((key,) for key in lacking)]
            if not more:
                return None, problems
            cuts += more
            tree = cut(tree, *more)
            for key in lacking:
                tree = put(tree, [key], Tree.of(_STAND_INS[key], tree.mark), tree.mark)
        else:
            return None, problems
        if name == BASE and not cuts:
            self.base = (tree, spec)
        collector = _Collector(cuts, problems)
        messages = self._number_messages(spec, tree, collector)
        files, left_out = self._find_files(spec, tree, collector)
        prompts = find_prompts(spec, tree, self.prompts, collector.add)
        findings = [*check(spec, messages.keys(), _defined_names(whole))]
        if self.base:
            findings += check_arm(spec, self.base[1])
        for finding in findings:
            problem = Problem(whole.locate_patch(finding.path, self.file), finding.message)
            collector.add(finding.path, problem, finding.depends_on)
        return Arm(name, mark, tree, spec, messages, files, prompts, left_out), problems

    def _reuse_base(self, tree: Tree) -> dict[str, object]:
        """Return a spec for the schema to validate, in which the parts shared with the base are validated already."""
        if self.base is None:
            return {key: part.plain() for key, part in tree.entries.items()}
        base, spec = self.base
        content: dict[str, object] = {}
        for key, part in tree.entries.items():
            base_part, valid = base.entries.get(key), getattr(spec, key, None)
            if part is base_part:
                content[key] = valid
            elif isinstance(valid, dict) and part.is_map:
                shared = base_part.entries if base_part is not None else {}
                content[key] = {
                    name: valid[name] if shared.get(name) is item else item.plain()
                    for name, item in part.entries.items()
                }
            else:
                content[key] = part.plain()
        return content

    def _number_messages(self, spec: Spec, tree: Tree, collector: _Collector) -> dict[int, str]:
        """Return the system messages of the library and the spec by number."""
        section, path = spec.system_messages, ("system_messages", "library")
        if any(cut[:2] == ("system_messages", "messages") for cut in collector.cuts):
            collector.cuts.append(("system_messages", "messages"))  # a broken number may have been any number
        library: dict[int, str] = {}
        if section.library:
            mark = tree.locate(path)
            try:
                library = self.libraries.read(mark.folder / substitute_variables(section.library))
            except SpecErrors as error:
                collector.problems.extend(error.problems)
                collector.cuts.append(path)
            except InputError as error:
                collector.add(path, Problem(mark, f"{error.message}; {_RELATIVE}"))
                collector.cuts.append(path)
        return number_messages(library, section.messages)

    def _find_files(
        self, spec: Spec, tree: Tree, collector: _Collector
    ) -> tuple[dict[SpecPath, FileSet], dict[str, str]]:
        """Return the files that each field names, and the error messages of the benchmarks to skip."""
        files: dict[SpecPath, FileSet] = {}
        left_out: dict[str, str] = {}

        def find(path: SpecPath, patterns: Sequence[str], *, later: bool = False) -> FileSet | None:
            part = tree.at(path[:2])
            if (id(part), path) not in self.lookups:
                written = [(text, tree.locate([*path, index])) for index, text in enumerate(patterns)]
                self.lookups[id(part), path] = self._look_up(part, path, written, later)
            lookup = self.lookups[id(part), path]
            for problem in lookup.problems:
                collector.add(path, problem)
            if lookup.files is not None:
                files[path] = lookup.files
            return lookup.files

        for section, sources in (("queries", spec.queries), ("benchmarks", spec.benchmarks)):
            for name, source in sources.items():
                if not isinstance(source, FileSource):
                    continue
                missing = getattr(source, "missing", "error")
                file_set = find((section, name, "path"), source.path, later=missing != "error")
                if file_set and file_set.absent and missing == "skip":
                    left_out[name] = file_set.why
                if file_set and isinstance(source, TableQueries | TableBenchmark | OpenBenchmark):
                    format = "jsonl" if isinstance(source, OpenBenchmark) else source.format
                    self._check_columns(
                        tree, (section, name, "fields"), source.fields.items(), file_set, format, collector
                    )
        for name, benchmark in spec.benchmarks.items():
            if not isinstance(benchmark, OpenBenchmark) and benchmark.examples and name not in left_out:
                find(("benchmarks", name, "examples"), benchmark.examples)
        for name, teacher in spec.teachers.items():
            if isinstance(teacher.endpoint, ReplayEndpoint):
                at, endpoint = ("teachers", name, "endpoint"), teacher.endpoint
                if file_set := find((*at, "path"), endpoint.path):
                    self._check_columns(tree, (*at, "fields"), endpoint.fields.items(), file_set, "jsonl", collector)
                if file_set := find((*at, "questions"), endpoint.questions):
                    self._check_columns(
                        tree, (*at, "question_fields"), endpoint.question_fields.items(), file_set, "jsonl", collector
                    )
        models: dict[SpecPath, str] = {
            ("teachers", name, "endpoint", "path"): teacher.endpoint.path
            for name, teacher in spec.teachers.items()
            if isinstance(teacher.endpoint, LocalEndpoint)
        }
        if spec.student and spec.student.base is not None:
            models["student", "base"] = spec.student.base
        for path, text in models.items():
            mark = tree.locate(path)
            try:
                files[path] = self.finder.find_model(text, mark)
            except InputError as error:
                collector.add(path, Problem(mark, _with_fix(error)))
        return files, left_out

    def _check_columns(
        self,
        tree: Tree,
        path: SpecPath,
        fields: Iterable[tuple[str, str]],
        files: FileSet,
        format: str,
        collector: _Collector,
    ) -> None:
        """Add the problems of a map of fields with local files; each part of a spec is checked once."""
        key = (id(tree.at(path[:2])), path)
        if key not in self.columns:
            self.columns[key] = [*check_columns(tree, path, fields, files, format)]
        for at, problem in self.columns[key]:
            collector.add(at, problem)

    def _look_up(self, part: Tree, path: SpecPath, written: list[tuple[str, Mark]], later: bool) -> _Lookup:
        """Look up the files of one field, each path by itself so that every wrong one is reported."""
        problems = []
        for one in written:
            try:
                self.finder.find_files([one], later=later)
            except MissingFileError as error:
                may_be_later = path[0] in ("queries", "benchmarks") and path[2] == "path"
                later_fix = "supply it, or write `missing: later` to plan without this file until it exists"
                fix = f"; {later_fix}" if may_be_later else ""
                problems.append(Problem(one[1], f"{error.message}{fix}"))
            except InputError as error:
                problems.append(Problem(one[1], _with_fix(error)))
        return _Lookup(part, None if problems else self.finder.find_files(written, later=later), problems)


@dataclass(frozen=True, slots=True)
class _Lookup:
    """The files of one field, or the problems with its paths."""

    part: Tree  # kept alive, so that no other tree gets its id
    files: FileSet | None
    problems: list[Problem]


@dataclass(slots=True)
class _Collector:
    """The problems of an arm, except those that are due to the parts cut out."""

    cuts: list[SpecPath]
    problems: list[Problem]

    def add(self, path: SpecPath, problem: Problem, depends_on: Iterable[SpecPath] = ()) -> None:
        """Add a problem at `path`, unless that part, or one that the problem depends on, is cut out."""
        if not any(path[: len(cut)] == cut or cut[: len(path)] == path for cut in self.cuts) and not any(
            cut == part[: len(cut)] for part in depends_on for cut in self.cuts
        ):
            self.problems.append(problem)


def _with_fix(error: InputError) -> str:
    return f"{error.message}; {error.fix}" if error.fix else error.message


def _defined_names(tree: Tree) -> dict[str, Set[str]]:
    """Return the names that each map of names defines, including names of parts that the schema refuses."""
    sections = {key: tree.entries.get(key) for key in _NAME_MAPS}
    return {key: section.entries.keys() if section else set() for key, section in sections.items()}
