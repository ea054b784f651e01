"""The judges of a spec: their rules, and the prompts that they show, read from files or shipped with orcac.

A prompt is a YAML file with three keys: `reads`, the parser of its reviews; `system`, the system message; and `prompt`,
the text with the fields of its form. A benchmark may also name a teacher as its judge, which stands for a judge with
the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orcac.errors import InputError
from orcac.score.recipe import FORMS, Form, JudgePrompt
from orcac.slots import list_slots
from orcac.spec.filters import checks_contamination
from orcac.spec.finding import Finding, Names, check_name
from orcac.spec.paths import substitute_variables
from orcac.spec.problems import Problem, SpecErrors, SpecPath, describe
from orcac.spec.schema import Judge, OpenBenchmark, ReferenceEndpoint, ReplayEndpoint, Spec
from orcac.spec.source import File, Tree, parse

__all__ = [
    "Prompts",
    "check_grader",
    "check_judged",
    "check_judges",
    "find_judge",
    "find_prompts",
    "list_judged_baselines",
    "read_shipped",
]

_FOLDER = Path(__file__).parents[1] / "score" / "judging" / "prompts"
_SHIPPED: dict[Form, dict[str, str]] = {  # form -> task -> file; "" is for all other tasks
    "pairwise": {"": "pairwise.yaml", "coding": "pairwise-coding.yaml", "math": "pairwise-math.yaml"},
    "scale": {"": "scale.yaml"},
    "verdict": {"": "verdict.yaml"},
}
_KEYS = {"reads", "system", "prompt"}


def find_judge(spec: Spec, benchmark: OpenBenchmark) -> Judge:
    """Return the judge of a benchmark, which is defined."""
    return spec.judges.get(benchmark.judge) or Judge(teacher=benchmark.judge)


def list_judged_baselines(spec: Spec, benchmark: OpenBenchmark) -> list[str]:
    """Return the baselines whose answers are judged: those that are not the references themselves."""
    return [name for name in spec.baselines if name not in benchmark.against]


# --- prompts -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Prompts:
    """A reader of prompt files, which reads each file once for all arms."""

    spec: File  # prompts are read from the spec's revision
    _results: dict[tuple[Path, Form], JudgePrompt | InputError] = field(default_factory=dict)

    def read(self, path: Path, form: Form) -> JudgePrompt:
        """Return a prompt. Raises SpecErrors for errors in the file, InputError if it cannot be read."""
        if (path, form) not in self._results:
            try:
                self._results[path, form] = _read_prompt(self.spec.with_path(path), form)
            except InputError as error:
                self._results[path, form] = error
        result = self._results[path, form]
        if isinstance(result, InputError):
            raise result
        return result


def find_prompts(
    spec: Spec, tree: Tree, prompts: Prompts, add: Callable[[SpecPath, Problem], None]
) -> dict[str, dict[str, JudgePrompt]]:
    """Return judge -> task -> its prompt, for all judges that benchmarks name; "" is the task of all others.

    Each problem with a file goes to `add`, with the path of the field that names the file.
    """
    judges = dict(spec.judges)
    for benchmark in spec.benchmarks.values():
        if isinstance(benchmark, OpenBenchmark):
            judges[benchmark.judge] = find_judge(spec, benchmark)
    found = {}
    for name, judge in judges.items():
        own: list[tuple[SpecPath, str, str]] = [
            (("judges", name, "per_category", task), task, file) for task, file in judge.per_category.items()
        ]
        of_judge = dict(read_shipped(judge.form))
        if judge.prompt is not None:
            own, of_judge = [(("judges", name, "prompt"), "", judge.prompt), *own], {}
        for path, task, file in own:
            mark = tree.locate(path)
            try:
                of_judge[task] = prompts.read(mark.folder / substitute_variables(file), judge.form)
            except SpecErrors as error:
                for problem in error.problems:
                    add(path, problem)
            except InputError as error:
                add(path, Problem(mark, f"{error.message}; a path is relative to the folder of the file that has it"))
        found[name] = of_judge
    return found


@cache
def read_shipped(form: Form) -> dict[str, JudgePrompt]:
    """Return the shipped prompts of a form by task; "" is the task of all others."""
    return {task: _read_prompt(File(_FOLDER / name), form) for task, name in _SHIPPED[form].items()}


def _read_prompt(file: File, form: Form) -> JudgePrompt:
    problems: list[Problem] = []
    tree = parse(file, problems, "a judge's prompt")
    readers, slots = FORMS[form]
    values = {}
    for key, entry in tree.entries.items():
        if key not in _KEYS:
            problems.append(
                Problem(tree.key_marks[key], f"a prompt has no {describe(key)}; known: prompt, reads, system")
            )
        elif not isinstance(entry.value, str):
            problems.append(Problem(entry.mark, f"`{key}` is not a text; write it as one"))
        else:
            values[key] = entry.value
    for key in sorted({"reads", "prompt"} - tree.entries.keys()):
        problems.append(Problem(tree.mark, f"`{key}` is missing: give `reads`, `prompt` and perhaps `system`"))
    if "reads" in values and values["reads"] not in readers:
        message = f"`reads: {values['reads']}` does not suit the form {form}; write {' or '.join(readers)}"
        problems.append(Problem(tree.entries["reads"].mark, message))
    if "prompt" in values:
        held = list_slots(values["prompt"])
        for name in slots:
            if held.count(name) != 1:
                message = f"the field `{{{name}}}` occurs {held.count(name)} times; the form {form} has it once"
                problems.append(Problem(tree.entries["prompt"].mark, message))
        for name in sorted(set(held) - {*slots, "mark"}):
            message = f"the form {form} has no field `{{{name}}}`; known: {', '.join((*slots, 'mark'))}"
            problems.append(Problem(tree.entries["prompt"].mark, message))
    if problems:
        raise SpecErrors(problems)
    return JudgePrompt.model_validate(
        {"reads": values["reads"], "system": values.get("system", ""), "text": values["prompt"]}
    )


# --- rules -------------------------------------------------------------------------------------------------------


def check_judges(spec: Spec, names: Names) -> Iterator[Finding]:
    """Yield the errors of the judges themselves."""
    for name, judge in spec.judges.items():
        path: SpecPath = ("judges", name)
        yield from check_name((*path, "teacher"), f"judge `{name}` asks teacher", judge.teacher, "teachers", names)
        teacher = spec.teachers.get(judge.teacher)
        is_replayed = teacher is not None and isinstance(teacher.endpoint, ReplayEndpoint)
        if teacher and "recorded" in judge.model_fields_set and not is_replayed:
            message = f"`{judge.teacher}` is asked in both orders, so `recorded` has no effect; remove it"
            yield Finding((*path, "recorded"), message, (("teachers", judge.teacher),))


def check_judged(name: str, benchmark: OpenBenchmark, spec: Spec, names: Names) -> Iterator[Finding]:
    """Yield the errors of a benchmark that is judged: its judge, its references, and the answers to judge."""
    path: SpecPath = ("benchmarks", name)
    at = (*path, "judge")
    every = {"teachers": names["teachers"] | names["judges"]}
    for found in check_name(at, f"benchmark `{name}` is judged by teacher", benchmark.judge, "teachers", every):
        yield found._replace(depends_on=(("teachers",), ("judges",)))
    for index, teacher in enumerate(benchmark.against):
        compared = f"benchmark `{name}` compares with teacher"
        yield from check_name((*path, "against", index), compared, teacher, "teachers", names)
    if benchmark.judge in names["judges"] and benchmark.judge not in spec.judges:
        return  # the schema refused it
    judge = find_judge(spec, benchmark)
    depends: tuple[SpecPath, ...] = (("judges",), ("teachers", judge.teacher), ("student",), ("baselines",))
    if not benchmark.against and judge.form != "scale":
        message = f"`against` is missing: list the teachers whose answers the form {judge.form} compares"
        yield Finding(path, message, ((*path, "against"), ("judges",)))
    baselines = list_judged_baselines(spec, benchmark)
    if not (spec.student or names["stages"] or baselines or checks_contamination(spec)):
        message = (
            f"no model's answers to `{name}` are judged; add a `student`, or baselines besides those in `against`, or "
            f"remove `{name}`"
        )
        yield Finding(at, message, (("student",), ("baselines",), ("filters",)))
    asked = spec.teachers.get(judge.teacher)
    if asked and isinstance(asked.endpoint, ReferenceEndpoint):
        message = f"`{judge.teacher}` answers with references, which are not reviews; name a model or a recording"
        yield Finding(at, message, depends)
    if asked and isinstance(asked.endpoint, ReplayEndpoint):
        expected = 0 if judge.form == "scale" else 1
        if spec.student or len(baselines) != 1 or len(benchmark.against) != expected:
            message = (
                f"`{judge.teacher}` holds recorded reviews, which are of the recorded answers of one model"
                f"{' against one reference' * expected}; judge one baseline and no student"
                f"{', with one teacher in `against`' * expected}, or name a model as the judge"
            )
            yield Finding(at, message, depends)


def check_grader(spec: Spec, name: str, path: SpecPath, subject: str, names: Names) -> Iterator[Finding]:
    """Yield the errors of a judge that gives points to single answers of a dataset.

    path: the field that names it. subject: the reference to it: "dataset `few` is rated by judge"
    """
    if name not in names["judges"] and name in names["teachers"]:
        message = (
            f"`{name}` is a teacher; define a judge that asks it, as in `judges: {{points: {{teacher: {name}, form: "
            "scale}}`, and write `judge: points`"
        )
        yield Finding(path, message, (("judges",), ("teachers",)))
        return
    yield from check_name(path, subject, name, "judges", names)
    judge = spec.judges.get(name)
    if judge is None:
        return
    if judge.form != "scale":
        message = (
            f"judge `{name}` compares two answers (form {judge.form}), and here each answer gets points by itself; "
            "write `form: scale` in it, or name another judge"
        )
        yield Finding(path, message, (("judges", name),))
    asked = spec.teachers.get(judge.teacher)
    if asked and isinstance(asked.endpoint, ReferenceEndpoint | ReplayEndpoint):
        message = (
            f"judge `{name}` must be a model that reads the answers of this spec, and its teacher `{judge.teacher}` "
            f"has {'references' if isinstance(asked.endpoint, ReferenceEndpoint) else 'recorded reviews'} alone; name "
            "a model as its `teacher`"
        )
        yield Finding(path, message, (("judges", name), ("teachers", judge.teacher)))
