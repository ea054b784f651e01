"""The rules that a schema cannot express: names that must exist, cycles, numbers that must divide, combinations.

Each check yields findings; `load` turns their paths into places in the file.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Set

from orcac.spec.endpoints import check_endpoint
from orcac.spec.filters import check_filters, checks_contamination
from orcac.spec.finding import Finding, Names, check_message_number, check_name
from orcac.spec.judges import check_judges
from orcac.spec.problems import SpecPath
from orcac.spec.questions import check_benchmarks, check_own_messages, check_source
from orcac.spec.ratings import check_choice, check_selections
from orcac.spec.samples import check_samples
from orcac.spec.schema import (
    Adapter,
    Dataset,
    LocalEndpoint,
    OpenAIEndpoint,
    OpenBenchmark,
    ReplayEndpoint,
    SolverEndpoint,
    Spec,
    TrainWork,
    VLLMEndpoint,
    is_drawn,
)
from orcac.spec.stages import check_data, count_prompts
from orcac.spec.units import BatchSize
from orcac.tokenize.recipe import ENOUGH


def check(spec: Spec, message_numbers: Set[int], names: Names) -> Iterator[Finding]:
    """Yield every inconsistency of a spec.

    `message_numbers` are the defined system messages. `names` holds the names that each section defines, including
    those of parts that the schema refused and that `spec` therefore lacks.
    """
    yield from _check_system_messages(spec, message_numbers, names)
    yield from check_own_messages(spec, message_numbers)
    yield from _check_teachers(spec)
    yield from _check_datasets(spec, names)
    yield from check_samples(spec)
    yield from check_filters(spec)
    yield from _check_purpose(spec, names)
    yield from _check_student(spec, names)
    yield from _check_curriculum(spec, names)
    yield from _check_replicates(spec)
    yield from check_judges(spec, names)
    yield from check_selections(spec, names)
    yield from check_benchmarks(spec, message_numbers, names)
    yield from _check_evaluation(spec)
    for name, queries in spec.queries.items():
        yield from check_source(("queries", name), queries)


def _check_purpose(spec: Spec, names: Names) -> Iterator[Finding]:
    """Yield a finding if a spec makes nothing, or if a section that others need is absent."""
    if not (spec.student or spec.baselines or names["datasets"] or names["stages"]):
        message = (
            "the spec makes nothing; add a `student` or `baselines` with `benchmarks` to measure models, or `datasets` "
            "to collect answers"
        )
        yield Finding(("name",), message, (("student",), ("baselines",), ("datasets",), ("stages",)))
    elif names["benchmarks"] and not (spec.student or spec.baselines or checks_contamination(spec) or names["stages"]):
        message = "no model answers the benchmarks; add a `student` or `baselines`, or remove `benchmarks`"
        yield Finding(("benchmarks",), message, (("student",), ("baselines",), ("filters",)))
    if names["stages"] and not spec.student:
        message = "the stages have no student to train; add `student`, as in `student: {base: path/to/model}`"
        yield Finding(("stages",), message, (("student",),))
    if len(names["stages"]) > 1 and "curriculum" not in spec.model_fields_set:
        message = (
            "no `curriculum` puts the stages in order; list them, as in `curriculum: [assistant, expert]`, or write "
            "`curriculum: []` to train nothing"
        )
        yield Finding(("stages",), message, (("curriculum",),))


def _check_system_messages(spec: Spec, numbers: Set[int], names: Names) -> Iterator[Finding]:
    for path, draws in [(("system_messages", "draw"), spec.system_messages.draw)] + [
        (("datasets", name, "draw"), dataset.draw) for name, dataset in spec.datasets.items()
    ]:
        for source, draw in draws.items():
            yield from check_name((*path, source), "messages are drawn for query source", source, "queries", names)
            for part, drawn in (("always", draw.always), ("multiple_choice", draw.multiple_choice)):
                for index, number in enumerate(drawn):
                    yield from check_message_number((*path, source, part, index), number, numbers)


_MORE_ANSWERS = "a request would return several answers, all of them paid for, and only one would be kept"
_OWN_KEY = "it is a key of `sampling` itself; write it there"
_NOT_EXTRA = {
    "n": _MORE_ANSWERS,
    "best_of": _MORE_ANSWERS,
    "stream": "answers are received whole",
    "model": "it is the teacher's `model`; write it there",
    "messages": "they are made from the prompt",
    "max_completion_tokens": "write `max_tokens`; it is sent under this name to the models that require it",
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "seed"), _OWN_KEY),
}  # parameters that would change a request's cost, or the model or prompt of its answer


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = (
    *("host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding"),
    *("accept-encoding", "expect", "trailer", "te", "upgrade"),
)  # each request needs its own value of these
_ROLES: dict[type[object], tuple[str, ...]] = {
    OpenAIEndpoint: ("system", "developer", "user", "none"),
    VLLMEndpoint: ("system", "developer", "user", "none"),
    LocalEndpoint: ("system", "none"),  # the model's own chat template has no others
}


def _is_date(text: str) -> bool:
    """Return whether a text is a date in the form YYYY-MM-DD."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _header_problem(header: str) -> str:
    return "orcac sets it" if header.lower() in _OWN_HEADERS else "write letters, digits and hyphens"


def _check_teachers(spec: Spec) -> Iterator[Finding]:
    for name, teacher in spec.teachers.items():
        path, endpoint = ("teachers", name), teacher.endpoint
        yield from check_endpoint(path, teacher)
        if spec.budget is not None and isinstance(endpoint, OpenAIEndpoint) and not teacher.price:
            fix = "add `price: {input, output}`, or leave out `budget`"
            message = f"teacher `{name}` has no price, so the budget caps nothing; {fix}"
            yield Finding(path, message, ((*path, "price"), ("budget",)))
        for parameter in sorted(teacher.sampling.extra.keys() & _NOT_EXTRA.keys()):
            message = f"`{parameter}` is not allowed in `extra`: {_NOT_EXTRA[parameter]}"
            yield Finding((*path, "sampling", "extra", parameter), message)
        if teacher.sampling.stop and "stop" in teacher.sampling.extra:
            message = "`stop` is given twice; leave one of them out"
            yield Finding((*path, "sampling", "extra", "stop"), message, ((*path, "sampling", "stop"),))
        roles = _ROLES.get(type(endpoint), ("system",))
        if teacher.system_role not in roles:
            message = (
                f"a `{endpoint.kind}` endpoint has no `system_role: {teacher.system_role}`; known: {', '.join(roles)}"
            )
            yield Finding((*path, "system_role"), message, ((*path, "endpoint", "kind"),))
        for header in getattr(endpoint, "headers", {}):
            if not _HEADER.fullmatch(header) or header.lower() in _OWN_HEADERS:
                message = f"`{header}` cannot be a further header: {_header_problem(header)}"
                yield Finding((*path, "endpoint", "headers", header), message)
        if isinstance(endpoint, SolverEndpoint) and teacher.model not in ("assistant", "expert", "judge"):
            message = f"the embedded teacher has no model `{teacher.model}`; it has assistant, expert and judge"
            yield Finding((*path, "model"), message)
        if isinstance(endpoint, LocalEndpoint) and endpoint.path.endswith(".gguf"):
            message = "a `local` endpoint cannot load a .gguf file; give a model directory"
            yield Finding((*path, "endpoint", "path"), message)
        if isinstance(endpoint, VLLMEndpoint) and endpoint.path and not endpoint.path.startswith("/"):
            message = f"`{endpoint.path}` is passed to vLLM unchanged; write a path that starts with /"
            yield Finding((*path, "endpoint", "path"), message)
        if isinstance(endpoint, ReplayEndpoint):
            at, fields = (*path, "endpoint"), endpoint.fields
            if "answer" not in fields:
                yield Finding((*at, "fields"), "`answer` is missing: give the key that holds the answer")
            if endpoint.questions and not ("id" in fields and {"id", "question"} <= set(endpoint.question_fields)):
                message = (
                    "answers are joined to `questions` by id; add `id` to `fields`, and `id` and `question` to "
                    "`question_fields`"
                )
                yield Finding((*at, "questions"), message, ((*at, "fields"), (*at, "question_fields")))
            if not endpoint.questions and "question" not in fields:
                message = "`question` is missing: give the key that holds the question"
                yield Finding((*at, "fields"), message, ((*at, "questions"),))


def _check_datasets(spec: Spec, names: Names) -> Iterator[Finding]:
    in_cycle: set[str] = set()
    for name, dataset in spec.datasets.items():
        path: SpecPath = ("datasets", name)
        asks = f"dataset `{name}` asks teacher"
        yield from check_name((*path, "teacher"), asks, dataset.teacher, "teachers", names)
        if bool(dataset.queries) == bool(dataset.sample):
            given = "both are given" if dataset.sample else "neither is given"
            message = f"dataset `{name}` needs either `queries` or `sample`; {given}"
            yield Finding(path, message, ((*path, "queries"), (*path, "sample")))
        for index, query_source in enumerate(dataset.queries):
            takes = f"dataset `{name}` takes query source"
            yield from check_name((*path, "queries", index), takes, query_source, "queries", names)
        if dataset.sample:
            source, pool = (*path, "sample", "from"), dataset.sample.from_
            yield from check_name(source, f"dataset `{name}` draws from dataset", pool, "datasets", names)
            yield from _check_pool(spec, name, pool, dataset.sample.take)
            yield from check_choice(spec, name, dataset.sample, names)
        cycle = _find_cycle(spec, name)
        if cycle and name not in in_cycle:
            steps = " -> ".join(cycle)
            message = (
                f"dataset `{name}` is drawn from itself: {steps}; one of these needs `queries` instead of `sample`"
            )
            yield Finding((*path, "sample", "from"), message)
            in_cycle.update(cycle)


def _check_pool(spec: Spec, name: str, pool: str, take: int) -> Iterator[Finding]:
    """Yield a finding if a dataset draws more prompts than its pool can have."""
    dataset, most = spec.datasets.get(pool), count_prompts(spec, pool)
    if dataset and not dataset.sample and most is not None and most < take:
        message = f"dataset `{pool}` has at most {most:,} prompts; take no more than these"
        yield Finding(("datasets", name, "sample", "take"), message)


def _find_cycle(spec: Spec, name: str) -> list[str]:
    """Return the names on the way from a dataset back to itself; empty if it is not drawn from itself."""
    names = [name]
    while (step := spec.datasets.get(names[-1])) and step.sample and step.sample.from_ not in names[1:]:
        names.append(step.sample.from_)
        if names[-1] == name:
            return names
    return []


def _check_student(spec: Spec, names: Names) -> Iterator[Finding]:
    student, at = spec.student, ("student",)
    if student is None:
        return
    kinds = ("base", "size", "shape")
    given = [key for key in kinds if getattr(student, key) is not None]
    if len(given) != 1:
        fix = f"; a spec that extends another, or an arm, drops one by `{given[0]}: null`" if given else ""
        message = f"give exactly one of base, size and shape ({' and '.join(given) or 'none'} given){fix}"
        yield Finding(at, message, tuple((*at, key) for key in kinds))
    elif given == ["base"] and student.tokenizer:
        yield Finding((*at, "tokenizer"), "a pretrained student has its own tokenizer; remove this one")
    elif given != ["base"] and not student.tokenizer:
        message = "a student from scratch needs a tokenizer; add `tokenizer: {vocabulary, train_on}`"
        yield Finding(at, message, ((*at, "tokenizer"),))
    for key in ("template", "system_role", "date"):
        if student.base is None and getattr(student, key) != type(student).model_fields[key].default:
            message = "a student from scratch has a chat template of ours; remove this"
            yield Finding((*at, key), message, ((*at, "base"),))
    if student.date and not _is_date(student.date):
        yield Finding((*at, "date"), f"`{student.date}` cannot be read as a date; write it as 2026-01-31")
    if student.packing == "none" and not student.isolation:
        message = "with `packing: none` each row has one example, so none is before another; remove `isolation: false`"
        yield Finding((*at, "isolation"), message, ((*at, "packing"),))
    if shape := student.shape:
        if shape.hidden % shape.heads:
            message = f"`hidden` {shape.hidden} is not a multiple of `heads` {shape.heads}"
            yield Finding((*at, "shape", "heads"), message)
        elif shape.hidden // shape.heads % 2:
            message = f"`hidden` / `heads` is {shape.hidden // shape.heads}; it must be even for rotary positions"
            yield Finding((*at, "shape", "heads"), message)
        if shape.kv_heads and shape.heads % shape.kv_heads:
            message = f"`heads` {shape.heads} is not a multiple of `kv_heads` {shape.kv_heads}"
            yield Finding((*at, "shape", "kv_heads"), message)
    for index, name in enumerate(student.tokenizer.train_on if student.tokenizer else ()):
        where: SpecPath = (*at, "tokenizer", "train_on", index)
        yield from check_name(where, "the tokenizer is trained on dataset", name, "datasets", names)


def _check_curriculum(spec: Spec, names: Names) -> Iterator[Finding]:
    for index, name in enumerate(spec.curriculum):
        yield from check_name(("curriculum", index), "the curriculum names stage", name, "stages", names)
    first = spec.stages.get(spec.curriculum[0]) if spec.curriculum else None
    if first and first.optimizer == "carry":
        message = f"stage `{spec.curriculum[0]}` is the first, so there is no optimizer state to carry; write `fresh`"
        yield Finding(("stages", spec.curriculum[0], "optimizer"), message, (("curriculum",),))
    for name, stage in spec.stages.items():
        yield from check_data(spec, name, stage, names)
        lengths = [key for key in ("epochs", "tokens", "steps") if getattr(stage, key)]
        if len(lengths) > 1:
            given = " or ".join(f"`{key}`" for key in lengths)
            message = f"a stage has either {given}, not both; remove one (in a patch: `null`)"
            at: SpecPath = ("stages", name)
            yield Finding((*at, lengths[1]), message, tuple((*at, key) for key in lengths))
        if stage.warmup == 1:
            message = (
                "the warmup is as long as the stage: only its last step has its learning rate; write a smaller share"
            )
            yield Finding(("stages", name, "warmup"), message)
        if stage.keep == "best" and not stage.holdout:
            message = "no loss says which step is the best; add `holdout`, as in `holdout: 5 %`"
            yield Finding(("stages", name, "keep"), message)
        for dataset in stage.datasets if stage.holdout and len(stage.datasets) == 1 else ():
            most = count_prompts(spec, dataset)
            if most is not None and most < ENOUGH:
                message = (
                    f"dataset `{dataset}` has at most {most} prompts, and {ENOUGH} questions of a teacher and source "
                    "are needed to spare one; collect more, or remove `holdout`"
                )
                yield Finding(("stages", name, "holdout"), message, (("datasets", dataset),))
        if spec.student:
            yield from _check_batch(spec, name, stage.batch, spec.student.max_length)
    yield from _check_hardware(spec.hardware.train, spec.student.adapter if spec.student else None)


def _check_replicates(spec: Spec) -> Iterator[Finding]:
    replicates, at = spec.replicates, ("replicates",)
    if replicates.training and replicates.base and replicates.arms:
        message = "`training` has no effect beside `base` and `arms`; remove it"
        yield Finding((*at, "training"), message, ((*at, "base"), (*at, "arms")))
    if not spec.stages and (replicates.training or replicates.base or replicates.arms):
        message = (
            "nothing is trained, so all training runs would be the same; add `stages`, or remove all of `replicates` "
            "but `data`"
        )
        yield Finding(at, message, (("stages",),))
    elif not spec.stages and replicates.data > 1 and (spec.student or spec.baselines):
        message = (
            "none of the measured models is trained on the data; add `stages`, or write `data` in a spec without "
            "`student` and `baselines`, which only collects"
        )
        yield Finding((*at, "data"), message, (("stages",),))
    elif replicates.data > 1 and (spec.curriculum or not spec.stages) and not _is_drawn(spec):
        message = (
            f"no dataset{' of the curriculum' if spec.stages else ''} is drawn at random (by `take`, by system "
            "messages, or by a teacher's temperature), so another draw would be the same data; remove `data`"
        )
        yield Finding((*at, "data"), message)


def _is_drawn(spec: Spec) -> bool:
    """Return whether another seed would change the data of a stage, or any dataset of a spec without stages.

    A part with an error counts as drawn.
    """
    datasets: list[Dataset | None] = list(spec.datasets.values())
    if spec.stages:
        stages = [spec.stages.get(name) for name in spec.curriculum]
        datasets = [spec.datasets.get(name) for stage in stages for name in (stage.datasets if stage else ("",))]
    return any(dataset is None or _is_dataset_drawn(spec, dataset) for dataset in datasets)


def _is_dataset_drawn(spec: Spec, dataset: Dataset) -> bool:
    teacher = spec.teachers.get(dataset.teacher)
    if dataset.sample or teacher is None or teacher.is_sampled:
        return True
    for name in dataset.queries:
        source = spec.queries.get(name)
        draw = dataset.draw.get(name) or spec.system_messages.draw.get(name)
        if source is None or is_drawn(source, draw):
            return True
    return False


def check_arm(spec: Spec, base: Spec) -> Iterator[Finding]:
    """Yield a finding for each part of an arm that must be as in the base, with which the arm is compared."""
    if spec.student and not base.student:
        message = "the arm has a student and the base has none to compare it with; write `student` in the spec"
        yield Finding(("student",), message)
    elif base.student and not spec.student:
        message = "the arm has no student to compare with the base's; to train nothing, write `curriculum: []`"
        yield Finding(("student",), message)
    for name, benchmark in spec.benchmarks.items():
        if name not in base.benchmarks:
            continue
        if benchmark.primary != base.benchmarks[name].primary:
            message = "a benchmark is primary for all arms or for none; write `primary` in the spec's `benchmarks`"
            yield Finding(("benchmarks", name, "primary"), message)
        for key in ("average", "margin"):
            if getattr(benchmark, key) != getattr(base.benchmarks[name], key):
                message = f"all arms are compared by one `{key}`; write it in the spec's `benchmarks`"
                yield Finding(("benchmarks", name, key), message)
    if spec.replicates.data != base.replicates.data:
        message = (
            f"an arm is compared on as many draws of the data as the base has; write `data: {base.replicates.data}`"
        )
        yield Finding(("replicates",), message)


def _check_batch(spec: Spec, stage: str, batch: BatchSize, length: int) -> Iterator[Finding]:
    """Yield a finding unless a batch is whole rows and every process gets the same number of micro-batches of it."""
    train, path = spec.hardware.train, ("stages", stage, "batch")
    if batch.unit == "tokens" and batch.size % length:
        message = f"a batch must be a multiple of {length:,} tokens, the length of a row (student.max_length)"
        choices = " or ".join(f"{near:_} tokens" for near in _nearest_multiples(batch.size, length))
        yield Finding(path, f"{message}; write {choices}", (("student", "max_length"),))
        return
    rows, processes = batch.rows(length), train.gpus or train.processes
    step = train.nodes * processes * train.micro_batch  # rows in one forward pass of all processes
    if rows % step:
        noun = "GPUs" if train.gpus else "processes"
        factors = [f"{count} {name}" for count, name in ((train.nodes, "nodes"), (processes, noun)) if count > 1]
        near = [count * length if batch.unit == "tokens" else count for count in _nearest_multiples(rows, step)]
        choices = " or ".join(f"{count:_}" if batch.unit == "tokens" else str(count) for count in near)
        size = f"{batch.size:_} tokens ({rows} rows)" if batch.unit == "tokens" else f"{rows} rows"
        message = (
            f"a batch of {size} cannot be split evenly: hardware.train takes {step} rows at once "
            f"({' × '.join([*factors, f'micro_batch {train.micro_batch}'])}); write {choices} {batch.unit}"
        )
        keys = ("nodes", "gpus", "processes", "micro_batch")
        yield Finding(path, message, tuple(("hardware", "train", key) for key in keys))


def _nearest_multiples(count: int, step: int) -> list[int]:
    """Return the multiples of `step` next to a `count` that is not one: below, if above 0, and above."""
    below = count - count % step
    return [below, below + step] if below else [step]


def _check_evaluation(spec: Spec) -> Iterator[Finding]:
    """Yield findings on the engine that generates students' answers."""
    work, at = spec.hardware.eval, ("hardware", "eval")
    if work.gpus > 1 and work.engine != "vllm":
        message = "transformers uses one GPU; write `gpus: 1`, or `engine: vllm`, which shares a model between GPUs"
        yield Finding((*at, "gpus"), message, ((*at, "engine"),))
    for name, benchmark in spec.benchmarks.items():
        method = "generate" if isinstance(benchmark, OpenBenchmark) else benchmark.method
        if method != "generate" and work.engine == "vllm":
            message = "vLLM only generates here; write `engine: transformers` in hardware.eval, or `method: generate`"
            yield Finding(("benchmarks", name, "method"), message, ((*at, "engine"),))


def _check_hardware(train: TrainWork, adapter: Adapter | None) -> Iterator[Finding]:
    at: SpecPath = ("hardware", "train")
    if train.zero and adapter and adapter.quantize:
        message = (
            "DeepSpeed cannot divide matrices of 4 bits; write `zero: 0`, with which each process has all of them, or "
            "remove `student.adapter.quantize`"
        )
        yield Finding((*at, "zero"), message, (("student", "adapter", "quantize"),))
    if train.gpus and train.processes > 1:
        message = f"each of the {train.gpus} GPUs has one process; remove `processes`, or write `gpus: 0`"
        yield Finding((*at, "processes"), message, ((*at, "gpus"),))
    if train.offload and not train.zero:
        message = "`offload` needs DeepSpeed; write `zero: 2` with it, or remove it"
        yield Finding((*at, "offload"), message, ((*at, "zero"),))
    elif train.zero and not train.offload and train.nodes * (train.gpus or train.processes) == 1:
        message = (
            f"ZeRO shares the training state between processes, and there is only one; write `zero: 0`, or at least 2 "
            f"`{'gpus' if train.gpus else 'processes'}`"
        )
        given = tuple((*at, key) for key in ("nodes", "gpus", "processes", "offload"))
        yield Finding((*at, "zero"), message, given)
