"""The rules of query sources and benchmarks: their fields, their sizes, and the ways to ask a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from orcac.puzzles import TASKS
from orcac.sample.recipe import OWN
from orcac.spec.finding import Finding, Names, check_message_number, check_name
from orcac.spec.judges import check_judged
from orcac.spec.problems import SpecPath
from orcac.spec.schema import (
    Benchmark,
    GeneratedBenchmark,
    GeneratedQueries,
    OpenBenchmark,
    Queries,
    ScoredBenchmark,
    Spec,
    TableBenchmark,
    TableQueries,
    TruthfulQABenchmark,
)
from orcac.stats.averages import FEWEST_TASKS


def check_own_messages(spec: Spec, numbers: Set[int]) -> Iterator[Finding]:
    """Yield a finding for each draw of system messages for a source whose rows bring their own, and for a message 0."""
    own = {
        name for name, source in spec.queries.items() if isinstance(source, TableQueries) and "system" in source.fields
    }
    if own and OWN in numbers:
        message = f"{OWN} is the number of messages that the rows of `{min(own)}` bring; give this message another"
        yield Finding(("system_messages", "messages", str(OWN)), message, (("queries", min(own), "fields"),))
    draws: list[tuple[SpecPath, Mapping[str, object]]] = [(("system_messages", "draw"), spec.system_messages.draw)]
    draws += [(("datasets", name, "draw"), dataset.draw) for name, dataset in spec.datasets.items()]
    for path, drawn in draws:
        for name in sorted(own & drawn.keys()):
            message = (
                f"the rows of `{name}` bring their own system messages, by `system` in its `fields`; remove this draw, "
                "or that field"
            )
            yield Finding((*path, name), message, (("queries", name, "fields"),))


def check_source(path: SpecPath, source: Queries | Benchmark) -> Iterator[Finding]:
    """Yield the errors of one query source: its fields, the sizes of generated tasks."""
    if isinstance(source, TableQueries | TableBenchmark | OpenBenchmark) and "query" not in source.fields:
        yield Finding((*path, "fields"), "`query` is missing: give the key that holds the question")
    if {"reference", "references"} <= set(getattr(source, "fields", {})):
        message = "`reference` and `references` are both given; keep `references` for a list of right answers"
        yield Finding((*path, "fields", "references"), message)
    if isinstance(source, TableBenchmark | OpenBenchmark) and "system" in source.fields:
        message = "a benchmark asks under one message, which `system` beside `fields` gives; remove it from `fields`"
        yield Finding((*path, "fields", "system"), message)
    if getattr(source, "show_options", "no") != "no" and "options" not in getattr(source, "fields", {}):
        message = "there are no options to show; give the key that holds them as `options` in `fields`"
        yield Finding((*path, "show_options"), message, ((*path, "fields"),))
    if not isinstance(source, GeneratedQueries | GeneratedBenchmark):
        return
    (low, high), task = source.size, TASKS[source.task]
    if low > high:
        yield Finding((*path, "size"), f"the sizes go from {low} to {high}; write the smaller one first")
    elif low < task.smallest or high > task.largest:
        yield Finding(
            (*path, "size"), f"{source.task} has sizes from {task.smallest} to {task.largest}, not {[low, high]}"
        )
    elif (distinct := task.count_distinct(low, high)) is not None and source.take > distinct:
        message = (
            f"{source.task} of size {low} to {high} has only {distinct:,} distinct puzzles, fewer than "
            f"{source.take:,}; lower `take`, or allow larger sizes"
        )
        yield Finding((*path, "take"), message, ((*path, "size"),))


def check_benchmarks(spec: Spec, numbers: Set[int], names: Names) -> Iterator[Finding]:
    for name, benchmark in spec.benchmarks.items():
        path: SpecPath = ("benchmarks", name)
        yield from check_message_number((*path, "system"), benchmark.system, numbers)
        yield from check_source(path, benchmark)
        yield from _check_average(path, benchmark)
        if not isinstance(benchmark, OpenBenchmark):
            yield from _check_checkers(path, benchmark)
            yield from _check_form(path, benchmark, names)
            yield from _check_asking(path, benchmark)
            yield from _check_loss(path, benchmark, names)
            if isinstance(benchmark.reasoning, int) and spec.student and spec.hardware.eval.engine == "vllm":
                message = "vLLM does not limit the tokens of reasoning; write `on` or `off`, or `engine: transformers`"
                yield Finding((*path, "reasoning"), message, (("hardware", "eval", "engine"),))
            if (
                isinstance(benchmark, TableBenchmark)
                and not {"reference", "references"} & set(benchmark.fields)
                and not benchmark.loss_of
            ):
                message = (
                    "`reference` is missing: give the key that holds the right answer, or write `format: open-ended` "
                    "for questions that a model judges"
                )
                yield Finding((*path, "fields"), message)
            if (
                isinstance(benchmark, TruthfulQABenchmark)
                and benchmark.task == "mc2"
                and benchmark.method != "likelihood"
            ):
                message = (
                    "mc2 is scored by the probability of its true choices; write `method: likelihood`, or `task: mc1`"
                )
                yield Finding((*path, "task"), message, ((*path, "method"),))
        else:
            yield from check_judged(name, benchmark, spec, names)
    for index, teacher in enumerate(spec.baselines):
        yield from check_name(("baselines", index), "a baseline is teacher", teacher, "teachers", names)
        if teacher in spec.teachers and "stop" in spec.teachers[teacher].sampling.extra:
            for name in sorted(name for name, benchmark in spec.benchmarks.items() if getattr(benchmark, "stop", ())):
                message = f"it would replace the `stop` of benchmark `{name}`; write it as `sampling.stop` instead"
                yield Finding(("teachers", teacher, "sampling", "extra", "stop"), message, (("benchmarks", name),))
    if spec.baselines and not spec.benchmarks:
        message = "there is no benchmark for a baseline to answer; add `benchmarks`, or remove `baselines`"
        yield Finding(("baselines",), message, (("benchmarks",),))


def _check_asking(path: SpecPath, benchmark: ScoredBenchmark) -> Iterator[Finding]:
    """Yield the contradictions among the ways to ask."""
    method = (*path, "method")
    if benchmark.shots and benchmark.examples:
        message = "`shots` and `examples` are both given; remove one (in a patch: `null`)"
        yield Finding((*path, "shots"), message, ((*path, "shots"), (*path, "examples")))
    if benchmark.method == "generate":
        if benchmark.samples > 1 and not benchmark.temperature:
            message = f"the {benchmark.samples} answers to an item are equal at temperature 0; write `temperature: 0.7`"
            yield Finding((*path, "samples"), message, ((*path, "samples"), (*path, "temperature")))
        return
    for key in _GENERATING:
        if getattr(benchmark, key) != type(benchmark).model_fields[key].default:
            message = (
                f"`{key}` has no effect with `method: {benchmark.method}`, which generates nothing; remove it "
                "(in a patch: `null`)"
            )
            yield Finding((*path, key), message, (method,))
    if isinstance(benchmark, TableBenchmark) and "options" not in benchmark.fields and benchmark.method != "loss":
        message = (
            f"`options` is missing: give the key that holds the choices, which `method: {benchmark.method}` compares"
        )
        yield Finding((*path, "fields"), message, (method,))


# settings of texts, which likelihoods do not have
_GENERATING = ("temperature", "top_p", "max_tokens", "stop", "samples", "reasoning", "checker", "parser")


def _check_loss(path: SpecPath, benchmark: ScoredBenchmark, names: Names) -> Iterator[Finding]:
    """Yield the contradictions of the teacher whose answers are the texts of `method: loss`."""
    if benchmark.loss_of is None:
        return
    at = (*path, "loss_of")
    what = f"benchmark `{path[-1]}` measures the loss of the answers of teacher"
    yield from check_name(at, what, benchmark.loss_of, "teachers", names)
    if benchmark.method != "loss":
        yield Finding(at, "`loss_of` has no effect without `method: loss`; write it, or remove `loss_of`")


def _check_average(path: SpecPath, benchmark: Benchmark) -> Iterator[Finding]:
    """Yield a finding if the listed tasks are too few for a clustered average; the report counts unlisted ones."""
    tasks = 1 if isinstance(benchmark, GeneratedBenchmark) else len(set(benchmark.tasks))
    if benchmark.average == "clustered" and 0 < tasks < FEWEST_TASKS:
        message = (
            f"a claim about tasks like these needs {FEWEST_TASKS} tasks or more, and here "
            f"{'is 1; remove `average`' if tasks == 1 else f'are {tasks}; write `macro`, or add tasks'}"
        )
        yield Finding((*path, "average"), message, ((*path, "tasks"),))


def _check_checkers(path: SpecPath, benchmark: ScoredBenchmark) -> Iterator[Finding]:
    both = (*path, "parser"), (*path, "checker")
    if benchmark.parser and "checker" in benchmark.model_fields_set:
        message = "`parser` is the older name of `checker`, and both are given; remove `parser` (in a patch: `null`)"
        yield Finding(both[0], message, both)
    for index, name in enumerate(benchmark.checker):
        if name in benchmark.checker[:index]:
            yield Finding((*both[1], index), f"the checker `{name}` is given twice; remove one")


def _check_form(path: SpecPath, benchmark: ScoredBenchmark, names: Names) -> Iterator[Finding]:
    """Yield the contradictions of the checker `form` and the teacher whose wording it looks for."""
    both = (*path, "form_of"), (*path, "checker")
    if benchmark.form_of:
        what = f"benchmark `{path[-1]}` compares its answers with those of teacher"
        yield from check_name(both[0], what, benchmark.form_of, "teachers", names)
        if "form" not in benchmark.checkers:
            message = "`form_of` has no effect without the checker `form`; write `checker: [auto, form]`, or remove it"
            yield Finding(both[0], message, both)
    elif "form" in benchmark.checkers:
        message = "the checker `form` needs a teacher whose wording to look for; write `form_of: TEACHER`"
        yield Finding(both[1], message, both)
