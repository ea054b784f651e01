"""What a schema alone cannot say: names that must exist, cycles, numbers that must divide, files that must be there.

Each check yields (path in the spec, message); `load` turns the path into a place in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from orcac.puzzles import TASKS
from orcac.spec.schema import (
    Benchmark,
    GeneratedBenchmark,
    GeneratedQueries,
    OpenAIEndpoint,
    OpenBenchmark,
    Queries,
    ReplayEndpoint,
    SolverEndpoint,
    Spec,
)

Path = tuple[str | int, ...]
Finding = tuple[Path, str]
Broken = Mapping[str, set[str]]
Names = Mapping[str, set[str]]


def check(spec: Spec, message_numbers: set[int], broken: Broken | None = None) -> Iterator[Finding]:
    """Everything that is inconsistent in a spec. `message_numbers` are those the library and the spec define.

    `broken` names what the schema refused in each of the spec's maps: it is not there, but it is defined.
    """
    broken = broken or {}
    names = {
        section: set(getattr(spec, section)) | set(broken.get(section, ()))
        for section in ("queries", "teachers", "datasets", "stages")
    }
    yield from _system_messages(spec, message_numbers, names)
    yield from _teachers(spec)
    yield from _datasets(spec, names)
    yield from _student(spec, names)
    yield from _curriculum(spec, names)
    yield from _benchmarks(spec, message_numbers, names)
    for name, queries in spec.queries.items():
        yield from _sizes(("queries", name), queries)


def _known(path: Path, subject: str, name: str, known: Iterable[str]) -> Iterator[Finding]:
    """`subject` says who names it, as in "dataset `few` asks teacher"."""
    names = sorted(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"defined: {', '.join(names) or 'none'}"
        yield path, f"{subject} `{name}`, which is not defined; {hint}"


def _number(path: Path, number: int, known: set[int]) -> Iterator[Finding]:
    if number not in known:
        yield path, f"system message {number} is not defined; defined: {', '.join(map(str, sorted(known)))}"


def _sizes(path: Path, source: Queries | Benchmark) -> Iterator[Finding]:
    if not isinstance(source, GeneratedQueries | GeneratedBenchmark):
        return
    (low, high), task = source.size, TASKS[source.task]
    if low > high:
        yield (*path, "size"), f"the size goes from {low} to {high}; give the smaller one first"
    elif low < task.smallest or high > task.largest:
        yield (*path, "size"), f"{source.task} has sizes from {task.smallest} to {task.largest}"


def _benchmarks(spec: Spec, numbers: set[int], names: Names) -> Iterator[Finding]:
    if spec.filters.contamination and not spec.benchmarks:
        yield ("filters", "contamination"), "there is no benchmark to check against; add `benchmarks` or drop this"
    for name, benchmark in spec.benchmarks.items():
        path: Path = ("benchmarks", name)
        yield from _number((*path, "system"), benchmark.system, numbers)
        yield from _sizes(path, benchmark)
        if isinstance(benchmark, OpenBenchmark):
            judged = f"benchmark `{name}` is judged by"
            yield from _known((*path, "judge"), judged, benchmark.judge, names["teachers"])
            for index, teacher in enumerate(benchmark.against):
                compared = f"benchmark `{name}` compares with"
                yield from _known((*path, "against", index), compared, teacher, names["teachers"])
            if "query" not in benchmark.fields:
                yield (*path, "fields"), "`query` is missing: which key holds the question?"
    for index, teacher in enumerate(spec.baselines):
        yield from _known(("baselines", index), "a baseline is teacher", teacher, names["teachers"])
    if spec.baselines and not spec.benchmarks:
        yield ("baselines",), "there is no benchmark for a baseline to answer; add `benchmarks` or drop this"


def _system_messages(spec: Spec, numbers: set[int], names: Names) -> Iterator[Finding]:
    for path, draws in [(("system_messages", "draw"), spec.system_messages.draw)] + [
        (("datasets", name, "draw"), dataset.draw) for name, dataset in spec.datasets.items()
    ]:
        for source, draw in draws.items():
            yield from _known((*path, source), "messages are drawn for query source", source, names["queries"])
            for number in (*draw.always, *draw.multiple_choice):
                yield from _number((*path, source), number, numbers)


def _teachers(spec: Spec) -> Iterator[Finding]:
    for name, teacher in spec.teachers.items():
        path, endpoint = ("teachers", name), teacher.endpoint
        if spec.budget is not None and isinstance(endpoint, OpenAIEndpoint) and not teacher.price:
            yield (
                ("budget",),
                f"a budget caps nothing without prices; teacher `{name}` needs `price: {{input, output}}`",
            )
        if isinstance(endpoint, SolverEndpoint) and teacher.model not in ("assistant", "expert"):
            yield (
                (*path, "model"),
                f"the embedded teacher has no model `{teacher.model}`; it has assistant and expert",
            )
        if isinstance(endpoint, ReplayEndpoint):
            fields = endpoint.fields
            if "answer" not in fields:
                yield (*path, "endpoint", "fields"), "`answer` is missing: which key holds the answer?"
            if endpoint.questions and not ("id" in fields and {"id", "question"} <= set(endpoint.question_fields)):
                fix = "`fields` needs id, and `question_fields` needs id and question"
                yield (*path, "endpoint", "questions"), f"answers are joined to questions by id: {fix}"
            if not endpoint.questions and "question" not in fields:
                yield (*path, "endpoint", "fields"), "`question` is missing: which key holds the question?"


def _datasets(spec: Spec, names: Names) -> Iterator[Finding]:
    for name, dataset in spec.datasets.items():
        path: Path = ("datasets", name)
        yield from _known((*path, "teacher"), f"dataset `{name}` asks teacher", dataset.teacher, names["teachers"])
        if bool(dataset.queries) == bool(dataset.sample):
            yield path, f"dataset `{name}` needs either `queries` or `sample`"
        for index, source in enumerate(dataset.queries):
            yield from _known(
                (*path, "queries", index), f"dataset `{name}` takes query source", source, names["queries"]
            )
        if dataset.sample:
            yield from _known(
                (*path, "sample", "from"),
                f"dataset `{name}` draws from dataset",
                dataset.sample.from_,
                names["datasets"],
            )
            pool = spec.datasets.get(dataset.sample.from_)
            sizes = [getattr(spec.queries.get(source), "take", None) for source in pool.queries] if pool else []
            known = [size for size in sizes if size is not None]
            if known and len(known) == len(sizes) and sum(known) < dataset.sample.take:
                yield (*path, "sample", "take"), f"`{dataset.sample.from_}` has {sum(known):,} prompts at most"
        seen = [name]
        while (step := spec.datasets.get(seen[-1])) and step.sample:
            if step.sample.from_ in seen:
                yield (
                    (*path, "sample", "from"),
                    f"drawn from itself: {' -> '.join([*seen, step.sample.from_])}",
                )
                break
            seen.append(step.sample.from_)


def _student(spec: Spec, names: Names) -> Iterator[Finding]:
    student = spec.student
    given = [key for key in ("base", "size", "shape") if getattr(student, key) is not None]
    if len(given) != 1:
        yield (
            ("student",),
            f"give exactly one of base, size and shape ({' and '.join(given) or 'none'} given)",
        )
    elif given == ["base"] and student.tokenizer:
        yield ("student", "tokenizer"), "a pretrained student brings its own tokenizer"
    elif given != ["base"] and not student.tokenizer:
        yield ("student",), "a student from scratch needs a `tokenizer: {vocabulary, train_on}`"
    if student.shape and student.shape.hidden % student.shape.heads:
        yield (
            ("student", "shape", "heads"),
            f"{student.shape.heads} heads do not divide hidden {student.shape.hidden}",
        )
    elif student.shape and student.shape.hidden // student.shape.heads % 2:
        yield ("student", "shape", "heads"), "hidden / heads must be even: positions are rotated in pairs"
    if student.shape and student.shape.kv_heads and student.shape.heads % student.shape.kv_heads:
        yield ("student", "shape", "kv_heads"), "kv_heads must divide heads"
    for index, name in enumerate(student.tokenizer.train_on if student.tokenizer else ()):
        yield from _known(
            ("student", "tokenizer", "train_on", index), "the tokenizer is trained on dataset", name, names["datasets"]
        )


def _curriculum(spec: Spec, names: Names) -> Iterator[Finding]:
    if not spec.curriculum:
        yield ("curriculum",), "the curriculum is empty; name the stages in their order, as in [assistant, expert]"
    for index, name in enumerate(spec.curriculum):
        yield from _known(("curriculum", index), "the curriculum names stage", name, names["stages"])
    first = spec.stages.get(spec.curriculum[0]) if spec.curriculum else None
    if first and first.optimizer == "carry":
        yield (
            ("stages", spec.curriculum[0], "optimizer"),
            f"`{spec.curriculum[0]}` is the first stage: there is no optimizer to carry; write `fresh`",
        )
    train = spec.hardware.train
    gpus = train.nodes * max(train.gpus, 1)
    for name, stage in spec.stages.items():
        subject = f"stage `{name}` trains on dataset"
        yield from _known(("stages", name, "dataset"), subject, stage.dataset, names["datasets"])
        if stage.batch % (gpus * train.micro_batch):
            by = f"{gpus} GPUs × {train.micro_batch} rows" if gpus > 1 else f"{train.micro_batch} rows"
            yield (
                ("stages", name, "batch"),
                f"{stage.batch} rows are not divisible by {by} (hardware.train: nodes × gpus × micro_batch)",
            )
