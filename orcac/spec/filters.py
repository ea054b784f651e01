"""The filters of a dataset, and the rules for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from orcac.recipe import Frozen
from orcac.spec.finding import Finding
from orcac.spec.problems import SpecPath
from orcac.spec.schema import Filters, Spec

F = TypeVar("F", bound=Frozen)

__all__ = ["check_filters", "checks_contamination", "find_filters", "list_filters"]


def find_filters(spec: Spec, dataset: str) -> Filters:
    """Return the filters of a dataset: its own, merged over those of the spec."""
    own = spec.datasets[dataset].filters
    return spec.filters if own is None else _merge(spec.filters, own)


def checks_contamination(spec: Spec) -> bool:
    """Return whether the filters of the spec, or those of a dataset, check contamination."""
    own = [dataset.filters for dataset in spec.datasets.values() if dataset.filters]
    return any(filters.contamination for filters in (spec.filters, *own))


def list_filters(spec: Spec) -> Iterator[tuple[SpecPath, Filters, Filters]]:
    """Yield the spec's filters, and those of each dataset that has its own: path, rules, and those given there."""
    yield ("filters",), spec.filters, spec.filters
    for name, dataset in spec.datasets.items():
        if dataset.filters is not None:
            yield ("datasets", name, "filters"), find_filters(spec, name), dataset.filters


def check_filters(spec: Spec) -> Iterator[Finding]:
    """Yield the inconsistencies of the spec's filters, and of those of each dataset that has its own."""
    for path, filters, given in list_filters(spec):
        yield from _check(filters, path)
        if given.student_tokens and not (spec.student and spec.stages):
            message = "this spec trains no student to count tokens with; write `tokens`, which counts the teacher's"
            yield Finding((*path, "student_tokens"), message, (("student",), ("stages",)))
        if given.contamination and not spec.benchmarks:
            message = "there is no benchmark to check against; add `benchmarks`, or remove `contamination`"
            yield Finding((*path, "contamination"), message, (("benchmarks",),))


def _merge(below: F, above: F) -> F:
    """Return `below` with the fields that are given in `above`; parts and maps that both have are merged."""
    merged: dict[str, object] = {}
    for name in above.model_fields_set:
        old, new = getattr(below, name), getattr(above, name)
        if isinstance(old, Frozen) and type(old) is type(new):
            new = _merge(old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            new = old | new
        merged[name] = new
    return below.model_copy(update=merged)


def _check(filters: Filters, path: SpecPath) -> Iterator[Finding]:
    for key in ("tokens", "student_tokens"):
        for part, bounds in getattr(filters, key).items():
            at: SpecPath = (*path, key, part)
            if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
                message = f"no answer passes: `min` {bounds.min} is above `max` {bounds.max}; exchange them"
                yield Finding((*at, "min"), message, ((*at, "max"),))
    if filters.unread == "drop" and not filters.agreement:
        message = "nothing is compared without `agreement`; write `agreement: agrees` with it, or remove it"
        yield Finding((*path, "unread"), message, ((*path, "agreement"),))
