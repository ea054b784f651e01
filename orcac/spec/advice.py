"""Warnings about a sound spec: values that are allowed and that are, most of the time, a mistake."""

from __future__ import annotations

from collections.abc import Iterator

from orcac.chat.address import is_loopback, lacks_path, suggest_v1
from orcac.chat.settings import Price
from orcac.spec.filters import checks_contamination
from orcac.spec.load import Arm, Experiment
from orcac.spec.problems import Problem, SpecPath
from orcac.spec.schema import OpenAIEndpoint, Spec

__all__ = ["find_warnings"]

_CONVERSATIONS = ("conversation", "conversations", "messages")  # keys of queries that may bring a system message
_TOKEN_PRICE_USD = 0.001  # per million tokens; no model is as cheap, so a smaller price is that of one token


def find_warnings(experiment: Experiment) -> list[Problem]:
    """Return a warning for each place of a spec that looks like a mistake, once for all arms."""
    found: dict[Problem, None] = {}
    for arm in experiment.arms.values():
        for path, message in _review(arm):
            found[Problem(arm.tree.locate(path), f"warning: {message}")] = None
    return list(found)


def _review(arm: Arm) -> Iterator[tuple[SpecPath, str]]:
    """Yield (path, warning) for an arm."""
    spec = arm.spec
    for name, teacher in spec.teachers.items():
        at, endpoint = ("teachers", name), teacher.endpoint
        if isinstance(endpoint, OpenAIEndpoint) and endpoint.base_url and not endpoint.azure:
            for message in _review_address(endpoint.base_url):
                yield (*at, "endpoint", "base_url"), message
        for key, value in _list_small_prices(teacher.price):
            message = (
                f"{value:g} USD per million tokens is less than any model costs; if it is the price of one token, "
                f"write {value * 1e6:g}"
            )
            yield (*at, "price", key), message
    if spec.student and not spec.student.isolation and spec.curriculum:
        message = "the student learns across the borders of the examples in a row, as the ablation of isolation"
        yield ("student", "isolation"), message
    taught = _list_taught(spec) if spec.benchmarks and spec.stages else set()
    if len(taught) == 1 and (number := min(taught)) != 1 and arm.messages[number] != arm.messages[1]:
        for name, benchmark in spec.benchmarks.items():
            if "system" not in benchmark.model_fields_set:
                message = (
                    f"the student is taught under the system message {number} alone, and asked here without it; write "
                    f"`system: {number}`, or `system: 1` if that is meant"
                )
                yield ("benchmarks", name), message
    for name in spec.benchmarks:
        tested = arm.files.get(("benchmarks", name, "path"))
        for source in spec.queries:
            asked = arm.files.get(("queries", source, "path"))
            if tested and asked and {*tested.files} & {*asked.files} and spec.stages and not checks_contamination(spec):
                message = (
                    f"the benchmark has a file of the query source `{source}`, so the student may be trained on its "
                    "items; give it a file of its own, or write `filters: {contamination: {ngram: 13}}`"
                )
                yield ("benchmarks", name, "path"), message


def _list_taught(spec: Spec) -> set[int]:
    """Return the numbers of the system messages of all training data; none if rows may bring their own."""
    found = set[int]()
    for name in dict.fromkeys(name for stage in spec.curriculum for name in spec.stages[stage].datasets):
        dataset = spec.datasets[name]
        draws = {**spec.system_messages.draw}
        chain = [dataset]
        while sample := chain[-1].sample:
            chain.append(spec.datasets[sample.from_])
        for one in reversed(chain):  # the draw of a subset replaces that of the prompts it is taken from
            draws |= one.draw
        for source in chain[-1].queries:
            if getattr(spec.queries[source], "fields", {}).get("query") in _CONVERSATIONS:
                return set()
            draw = draws.get(source)
            found |= {*draw.always, *draw.multiple_choice} if draw else {1}
    return found


def _review_address(base_url: str) -> Iterator[str]:
    if lacks_path(base_url):
        yield f"the address has no path, and most servers answer under /v1: write {suggest_v1(base_url)}"
    if base_url.lower().startswith("https") and is_loopback(base_url):
        yield "few servers on the own machine speak https; write http:// unless this one does"


def _list_small_prices(price: Price | None) -> Iterator[tuple[str, float]]:
    for key in ("input", "output") if price else ():
        value: float = getattr(price, key)
        if 0 < value < _TOKEN_PRICE_USD:
            yield key, value
