"""What a schema alone cannot say: names that must exist, cycles, numbers that must divide, files that must be there.

Each check yields findings; `load` turns their paths into places in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from orcac.puzzles import TASKS
from orcac.spec.schema import (
    Benchmark,
    GeneratedBenchmark,
    GeneratedQueries,
    LocalEndpoint,
    OpenAIEndpoint,
    OpenBenchmark,
    Queries,
    ReferenceEndpoint,
    ReplayEndpoint,
    SolverEndpoint,
    Spec,
    TableBenchmark,
    TableQueries,
    TrainWork,
    VLLMEndpoint,
)
from orcac.spec.units import BatchSize

Path = tuple[str | int, ...]
Names = Mapping[str, Set[str]]


class Finding(NamedTuple):
    """What is wrong at `path`, in view of what stands at each of `given`: where that is broken, it may not be wrong."""

    path: Path
    message: str
    given: tuple[Path, ...] = ()


def check(spec: Spec, message_numbers: Set[int], names: Names) -> Iterator[Finding]:
    """Everything that is inconsistent in a spec. `message_numbers` are those that the library and the spec define.

    `names` holds what each of the spec's maps defines, also what the schema refused and `spec` therefore lacks.
    """
    yield from _system_messages(spec, message_numbers, names)
    yield from _teachers(spec)
    yield from _datasets(spec, names)
    yield from _student(spec, names)
    yield from _curriculum(spec, names)
    yield from _benchmarks(spec, message_numbers, names)
    for name, queries in spec.queries.items():
        yield from _read(("queries", name), queries)


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first ten."""
    every = list(names)
    more = f" and {len(every) - 10} more" if len(every) > 10 else ""
    return ", ".join(every[:10]) + more or "none"


def _known(path: Path, subject: str, name: str, section: str, names: Names) -> Iterator[Finding]:
    """`subject` says who names it, as in "dataset `few` asks teacher"."""
    known = names[section]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        message = f"{subject} `{name}`, which is not defined; {hint}defined: {listed(sorted(known))}"
        yield Finding(path, message, ((section,),))


def _number(path: Path, number: int, known: Set[int]) -> Iterator[Finding]:
    if number not in known:
        message = f"system message {number} is not defined; defined: {', '.join(map(str, sorted(known)))}"
        given: tuple[Path, ...] = (("system_messages", "library"), ("system_messages", "messages", str(number)))
        yield Finding(path, message, given)


def _read(path: Path, source: Queries | Benchmark) -> Iterator[Finding]:
    """How the queries of a source are come by."""
    if isinstance(source, TableQueries | TableBenchmark | OpenBenchmark) and "query" not in source.fields:
        yield Finding((*path, "fields"), "`query` is missing here: which key holds the question?")
    if not isinstance(source, GeneratedQueries | GeneratedBenchmark):
        return
    (low, high), task = source.size, TASKS[source.task]
    if low > high:
        yield Finding((*path, "size"), f"the size goes from {low} to {high}; write the smaller one first")
    elif low < task.smallest or high > task.largest:
        yield Finding(
            (*path, "size"), f"{source.task} has sizes from {task.smallest} to {task.largest}, not {[low, high]}"
        )


def _benchmarks(spec: Spec, numbers: Set[int], names: Names) -> Iterator[Finding]:
    if spec.filters.contamination and not spec.benchmarks:
        message = "there is no benchmark to check against; add `benchmarks`, or leave `contamination` out"
        yield Finding(("filters", "contamination"), message, (("benchmarks",),))
    for name, benchmark in spec.benchmarks.items():
        path: Path = ("benchmarks", name)
        yield from _number((*path, "system"), benchmark.system, numbers)
        yield from _read(path, benchmark)
        if isinstance(benchmark, OpenBenchmark):
            judged = f"benchmark `{name}` is judged by teacher"
            yield from _known((*path, "judge"), judged, benchmark.judge, "teachers", names)
            judge = spec.teachers.get(benchmark.judge)
            if judge and isinstance(judge.endpoint, ReplayEndpoint | ReferenceEndpoint):
                message = (
                    f"`{benchmark.judge}` answers from a record, which holds no verdicts; name a model that is asked"
                )
                yield Finding((*path, "judge"), message, (("teachers", benchmark.judge),))
            for index, teacher in enumerate(benchmark.against):
                compared = f"benchmark `{name}` compares with teacher"
                yield from _known((*path, "against", index), compared, teacher, "teachers", names)
    for index, teacher in enumerate(spec.baselines):
        yield from _known(("baselines", index), "a baseline is teacher", teacher, "teachers", names)
    if spec.baselines and not spec.benchmarks:
        message = "there is no benchmark for a baseline to answer; add `benchmarks`, or leave `baselines` out"
        yield Finding(("baselines",), message, (("benchmarks",),))


def _system_messages(spec: Spec, numbers: Set[int], names: Names) -> Iterator[Finding]:
    for path, draws in [(("system_messages", "draw"), spec.system_messages.draw)] + [
        (("datasets", name, "draw"), dataset.draw) for name, dataset in spec.datasets.items()
    ]:
        for source, draw in draws.items():
            yield from _known((*path, source), "messages are drawn for query source", source, "queries", names)
            for part, drawn in (("always", draw.always), ("multiple_choice", draw.multiple_choice)):
                for index, number in enumerate(drawn):
                    yield from _number((*path, source, part, index), number, numbers)


_MORE_ANSWERS = "several answers to one request would be paid for and one of them kept"
_BESIDE = "write it beside `extra`, where its name is known"
_NOT_EXTRA = {
    "n": _MORE_ANSWERS,
    "best_of": _MORE_ANSWERS,
    "stream": "answers come whole",
    "model": "it is the teacher's `model`",
    "messages": "they are what is asked",
    "max_completion_tokens": "`max_tokens` is sent by this name where the model wants it",
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "seed"), _BESIDE),
}  # parameters of a request that would change what it costs, or whose answer it is


def _teachers(spec: Spec) -> Iterator[Finding]:
    for name, teacher in spec.teachers.items():
        path, endpoint = ("teachers", name), teacher.endpoint
        if spec.budget is not None and isinstance(endpoint, OpenAIEndpoint) and not teacher.price:
            message = f"teacher `{name}` has no price, so the budget caps nothing; add `price: {{input, output}}`"
            yield Finding(path, message, ((*path, "price"), ("budget",)))
        for parameter in sorted(teacher.sampling.extra.keys() & _NOT_EXTRA.keys()):
            message = f"`{parameter}` is not for `extra`: {_NOT_EXTRA[parameter]}"
            yield Finding((*path, "sampling", "extra", parameter), message)
        if isinstance(endpoint, SolverEndpoint) and teacher.model not in ("assistant", "expert"):
            message = f"the embedded teacher has no model `{teacher.model}`; it has assistant and expert"
            yield Finding((*path, "model"), message)
        if isinstance(endpoint, LocalEndpoint) and endpoint.path.endswith(".gguf"):
            yield Finding((*path, "endpoint", "path"), "a .gguf file is served, not loaded: give a model directory")
        if isinstance(endpoint, VLLMEndpoint) and endpoint.path and not endpoint.path.startswith("/"):
            message = f"`{endpoint.path}` is handed to vLLM as it is: write a path that starts with /"
            yield Finding((*path, "endpoint", "path"), message)
        if isinstance(endpoint, ReplayEndpoint):
            at, fields = (*path, "endpoint"), endpoint.fields
            if "answer" not in fields:
                yield Finding((*at, "fields"), "`answer` is missing here: which key holds the answer?")
            if endpoint.questions and not ("id" in fields and {"id", "question"} <= set(endpoint.question_fields)):
                message = (
                    "answers find their questions by id: `fields` needs `id`, `question_fields` `id` and `question`"
                )
                yield Finding((*at, "questions"), message, ((*at, "fields"), (*at, "question_fields")))
            if not endpoint.questions and "question" not in fields:
                message = "`question` is missing here: which key holds the question?"
                yield Finding((*at, "fields"), message, ((*at, "questions"),))


def _datasets(spec: Spec, names: Names) -> Iterator[Finding]:
    in_ring: set[str] = set()
    for name, dataset in spec.datasets.items():
        path: Path = ("datasets", name)
        asks = f"dataset `{name}` asks teacher"
        yield from _known((*path, "teacher"), asks, dataset.teacher, "teachers", names)
        if bool(dataset.queries) == bool(dataset.sample):
            both = "not both" if dataset.sample else "neither is given"
            message = f"dataset `{name}` needs either `queries` or `sample`; {both}"
            yield Finding(path, message, ((*path, "queries"), (*path, "sample")))
        for index, source in enumerate(dataset.queries):
            takes = f"dataset `{name}` takes query source"
            yield from _known((*path, "queries", index), takes, source, "queries", names)
        if dataset.sample:
            at, pool = (*path, "sample", "from"), dataset.sample.from_
            yield from _known(at, f"dataset `{name}` draws from dataset", pool, "datasets", names)
            yield from _pool(spec, name, pool, dataset.sample.take)
        ring = _ring(spec, name)
        if ring and name not in in_ring:
            way = " -> ".join(ring)
            message = f"dataset `{name}` is drawn from itself: {way}; one of these needs `queries` instead of `sample`"
            yield Finding((*path, "sample", "from"), message)
            in_ring.update(ring)


def _pool(spec: Spec, name: str, pool: str, take: int) -> Iterator[Finding]:
    described = spec.datasets.get(pool)
    sizes = [getattr(spec.queries.get(source), "take", None) for source in described.queries] if described else []
    known = [size for size in sizes if size is not None]
    if known and len(known) == len(sizes) and sum(known) < take:
        yield Finding(
            ("datasets", name, "sample", "take"), f"dataset `{pool}` has {sum(known):,} prompts at most; take no more"
        )


def _ring(spec: Spec, name: str) -> list[str]:
    """The way from a dataset back to itself, where it is drawn from itself."""
    way = [name]
    while (step := spec.datasets.get(way[-1])) and step.sample and step.sample.from_ not in way[1:]:
        way.append(step.sample.from_)
        if way[-1] == name:
            return way
    return []


def _student(spec: Spec, names: Names) -> Iterator[Finding]:
    student, at = spec.student, ("student",)
    kinds = ("base", "size", "shape")
    given = [key for key in kinds if getattr(student, key) is not None]
    if len(given) != 1:
        message = f"give exactly one of base, size and shape ({' and '.join(given) or 'none'} given)"
        yield Finding(at, message, tuple((*at, key) for key in kinds))
    elif given == ["base"] and student.tokenizer:
        yield Finding((*at, "tokenizer"), "a pretrained student brings its own tokenizer; leave this out")
    elif given != ["base"] and not student.tokenizer:
        message = "a student from scratch needs a tokenizer; add `tokenizer: {vocabulary, train_on}`"
        yield Finding(at, message, ((*at, "tokenizer"),))
    if shape := student.shape:
        if shape.hidden % shape.heads:
            message = f"{shape.heads} heads do not divide hidden {shape.hidden}"
            yield Finding((*at, "shape", "heads"), message)
        elif shape.hidden // shape.heads % 2:
            message = (
                f"hidden / heads is {shape.hidden // shape.heads}; it must be even: positions are rotated in pairs"
            )
            yield Finding((*at, "shape", "heads"), message)
        if shape.kv_heads and shape.heads % shape.kv_heads:
            message = f"{shape.kv_heads} kv_heads do not divide {shape.heads} heads"
            yield Finding((*at, "shape", "kv_heads"), message)
    for index, name in enumerate(student.tokenizer.train_on if student.tokenizer else ()):
        where: Path = (*at, "tokenizer", "train_on", index)
        yield from _known(where, "the tokenizer is trained on dataset", name, "datasets", names)


def _curriculum(spec: Spec, names: Names) -> Iterator[Finding]:
    if not spec.curriculum:
        message = "the curriculum is empty; name the stages in their order, as in [assistant, expert]"
        yield Finding(("curriculum",), message)
    for index, name in enumerate(spec.curriculum):
        yield from _known(("curriculum", index), "the curriculum names stage", name, "stages", names)
    first = spec.stages.get(spec.curriculum[0]) if spec.curriculum else None
    if first and first.optimizer == "carry":
        message = f"stage `{spec.curriculum[0]}` comes first, so there is no optimizer to carry; write `fresh`"
        yield Finding(("stages", spec.curriculum[0], "optimizer"), message, (("curriculum",),))
    for name, stage in spec.stages.items():
        subject = f"stage `{name}` trains on dataset"
        yield from _known(("stages", name, "dataset"), subject, stage.dataset, "datasets", names)
        if stage.tokens and stage.epochs:
            message = "a stage lasts so many `epochs` or so many `tokens`, not both; take one out (a patch: `null`)"
            at: Path = ("stages", name)
            yield Finding((*at, "tokens"), message, ((*at, "epochs"), (*at, "tokens")))
        yield from _batch(spec, name, stage.batch)
    yield from _hardware(spec.hardware.train)


def _batch(spec: Spec, stage: str, batch: BatchSize) -> Iterator[Finding]:
    """A batch is whole rows, and every process takes as many micro-batches of it as any other."""
    train, length, path = spec.hardware.train, spec.student.max_length, ("stages", stage, "batch")
    if batch.unit == "tokens" and batch.size % length:
        message = f"a row has {length:,} tokens (student.max_length), so a batch has a multiple of them"
        right = " or ".join(f"{near:_} tokens" for near in _nearest(batch.size, length))
        yield Finding(path, f"{message}; write {right}", (("student", "max_length"),))
        return
    rows, processes = batch.rows(length), train.gpus or train.processes
    at_once = train.nodes * processes * train.micro_batch
    if rows % at_once:
        what = "GPUs" if train.gpus else "processes"
        many = [f"{count} {what}" for count, what in ((train.nodes, "nodes"), (processes, what)) if count > 1]
        near = [count * length if batch.unit == "tokens" else count for count in _nearest(rows, at_once)]
        right = " or ".join(f"{count:_}" if batch.unit == "tokens" else str(count) for count in near)
        said = f"{batch.size:_} tokens ({rows} rows)" if batch.unit == "tokens" else f"{rows} rows"
        message = (
            f"a batch of {said} cannot be shared out: hardware.train takes {at_once} at once "
            f"({' × '.join([*many, f'micro_batch {train.micro_batch}'])}); write {right} {batch.unit}"
        )
        keys = ("nodes", "gpus", "processes", "micro_batch")
        yield Finding(path, message, tuple(("hardware", "train", key) for key in keys))


def _nearest(count: int, step: int) -> list[int]:
    """The multiples of `step` below and above a count that is none."""
    below = count - count % step
    return [below, below + step] if below else [step]


def _hardware(train: TrainWork) -> Iterator[Finding]:
    at: Path = ("hardware", "train")
    if train.gpus and train.processes > 1:
        message = f"there is one process for each of the {train.gpus} GPUs; leave `processes` out, or write `gpus: 0`"
        yield Finding((*at, "processes"), message, ((*at, "gpus"),))
    if train.offload and not train.zero:
        message = "it is DeepSpeed that offloads; write `zero: 2` with it, or leave it out"
        yield Finding((*at, "offload"), message, ((*at, "zero"),))
    elif train.zero and not train.offload and train.nodes * (train.gpus or train.processes) == 1:
        message = (
            f"ZeRO shares what training holds between processes, and there is one; write `zero: 0`, or "
            f"{'gpus' if train.gpus else 'processes'} of 2 and more"
        )
        given = tuple((*at, key) for key in ("nodes", "gpus", "processes", "offload"))
        yield Finding((*at, "zero"), message, given)
