"""The rules for ratings: values of questions, by which a subset is chosen and a stage is put in order, and points of
answers, by which a filter selects them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orcac.score.recipe import HIGHEST, LOWEST
from orcac.spec.filters import list_filters
from orcac.spec.finding import Finding, Names, check_name
from orcac.spec.judges import check_grader
from orcac.spec.problems import SpecPath
from orcac.spec.schema import ByJudge, Measure, Order, ReferenceEndpoint, Sample, Spec, TableQueries

__all__ = ["check_choice", "check_order", "check_selections"]

# by measure: the least and the largest value, and bounds as an example
_LIMITS: dict[str, tuple[float, float | None, str]] = {
    "pass_rate": (0.0, 1.0, "[0.1, 0.9]"),
    "length": (0.0, None, "[100, 2_000]"),
    "judge": (LOWEST, HIGHEST, "[3, 8]"),
}


def _name_measure(measure: Measure) -> str:
    return "judge" if isinstance(measure, ByJudge) else measure


def check_choice(spec: Spec, name: str, sample: Sample, names: Names) -> Iterator[Finding]:
    """Yield the findings on the choice of questions of the dataset `name` by their values."""
    at: SpecPath = ("datasets", name, "sample")
    if sample.by is None:
        for key in ("between", "prefer"):
            if getattr(sample, key) is not None:
                message = (
                    f"`{key}` compares values of questions; write `by: pass_rate`, `by: length` or "
                    "`by: {judge: NAME}` with it"
                )
                yield Finding((*at, key), message, ((*at, "by"),))
        return
    least, largest, example = _LIMITS[_name_measure(sample.by)]
    if sample.between is None and sample.prefer is None:
        message = f"`by` needs `between`, as in `between: {example}`, or `prefer: low` or `high`"
        yield Finding((*at, "by"), message, ((*at, "between"), (*at, "prefer")))
    if sample.between is not None:
        low, high = sample.between
        if low > high:
            message = f"no value is between {low:g} and {high:g}; write the smaller one first"
            yield Finding((*at, "between"), message)
        elif low < least or (largest is not None and high > largest):
            limits = f"at least {least:g}" if largest is None else f"from {least:g} to {largest:g}"
            yield Finding((*at, "between"), f"values by `{_name_measure(sample.by)}` are {limits}", ((*at, "by"),))
    if sample.by == "pass_rate":
        yield from check_rated(spec, sample.from_, (*at, "by"))
    if isinstance(sample.by, ByJudge):
        subject = f"questions of dataset `{name}` are chosen by judge"
        yield from check_grader(spec, sample.by.judge, (*at, "by", "judge"), subject, names)


def check_selections(spec: Spec, names: Names) -> Iterator[Finding]:
    """Yield the findings on the judges by whose points filters select answers."""
    for path, filters, given in list_filters(spec):
        select, at = filters.select, (*path, "select")
        if select is None or given.select is None:
            continue
        if select.by != "judged":
            if given.select.judge is not None:
                message = f"`judge` has no effect with `by: {select.by}`; write `by: judged`, or remove it"
                yield Finding((*at, "judge"), message, ((*at, "by"),))
        elif select.judge is None:
            message = "`by: judged` needs a judge; write `judge: NAME` beside it, with one of `judges`"
            yield Finding((*at, "by"), message, ((*at, "judge"),))
        else:
            place: SpecPath = (*at, "judge") if given.select.judge is not None else (*at, "by")
            yield from check_grader(spec, select.judge, place, "answers are selected by judge", names)


def check_order(spec: Spec, stage: str, order: Order, datasets: Sequence[str], names: Names) -> Iterator[Finding]:
    """Yield the findings on the order of a stage, whose examples are of `datasets`."""
    at: SpecPath = ("stages", stage, "order")
    if order.by == "length":
        if order.of is not None:
            message = "`of` has no effect with `by: length`; write `by: pass_rate`, or remove it"
            yield Finding((*at, "of"), message, ((*at, "by"),))
        return
    if isinstance(order.by, ByJudge):
        subject = f"stage `{stage}` is put in order by judge"
        yield from check_grader(spec, order.by.judge, (*at, "by", "judge"), subject, names)
    if order.of is not None:
        yield from check_name((*at, "of"), f"stage `{stage}` rates the answers of dataset", order.of, "datasets", names)
        asked = {source for name in datasets for source in list_sources(spec, name)}
        rated = list_sources(spec, order.of)
        if asked and rated and not asked & {*rated}:
            message = f"`{order.of}` has none of the questions of {' and '.join(f'`{name}`' for name in datasets)}"
            yield Finding((*at, "of"), message, tuple(("datasets", name) for name in (*datasets, order.of)))
    if order.by == "pass_rate":
        for name in (order.of,) if order.of is not None else datasets:
            yield from check_rated(spec, name, (*at, "by"))


def check_rated(spec: Spec, name: str, at: SpecPath) -> Iterator[Finding]:
    """Yield a finding if the answers of the dataset `name` have no pass rate. `at` is the field that asks for it."""
    dataset = spec.datasets.get(name)
    teacher = spec.teachers.get(dataset.teacher) if dataset else None
    if dataset is None or teacher is None:
        return
    if isinstance(teacher.endpoint, ReferenceEndpoint):
        message = f"the answers of `{name}` are the references themselves, so each is right; rate a model's answers"
        yield Finding(at, message, (("datasets", name, "teacher"), ("teachers", dataset.teacher)))
    sources = list_sources(spec, name)
    bare = [source for source in sources if _lacks_references(spec, source)]
    if bare and len(bare) == len(sources):
        message = (
            f"no question of `{name}` has a reference; give the key of the right answers in the `fields` of a source"
        )
        yield Finding(at, message, tuple(("queries", source, "fields") for source in bare))


def list_sources(spec: Spec, name: str) -> list[str]:
    """Return the query sources of a dataset, or of the dataset that it is drawn from."""
    seen = set[str]()
    while (dataset := spec.datasets.get(name)) and dataset.sample and name not in seen:
        seen.add(name)
        name = dataset.sample.from_
    return [source for source in dataset.queries if source in spec.queries] if dataset else []


def _lacks_references(spec: Spec, name: str) -> bool:
    source = spec.queries[name]
    return isinstance(source, TableQueries) and not {"reference", "references"} & set(source.fields)
