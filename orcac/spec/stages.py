"""The rules on the data of a stage: one dataset, or a mixture of several."""

from __future__ import annotations

import math
from collections.abc import Iterator

from orcac.spec.finding import Finding, Names, check_name
from orcac.spec.problems import SpecPath
from orcac.spec.ratings import check_order
from orcac.spec.schema import Spec, Stage

__all__ = ["check_data", "count_prompts"]

_OF_A_MIXTURE = ("shares", "take", "repeat")
_SIZES = ("take", "examples", "dollars")


def check_data(spec: Spec, name: str, stage: Stage, names: Names) -> Iterator[Finding]:
    """Yield the findings on the datasets of the stage `name`."""
    at: SpecPath = ("stages", name)
    depends = ((*at, "dataset"), (*at, "data"))
    if stage.dataset and stage.data:
        message = f"stage `{name}` needs either `dataset` or `data`; both are given; remove one (in a patch: `null`)"
        yield Finding(at, message, depends)
        return
    sizes = [key for key in _SIZES if getattr(stage, key)]
    if len(sizes) > 1:
        message = f"{' and '.join(f'`{key}`' for key in sizes)} state the size of the data twice; remove one"
        yield Finding((*at, sizes[1]), message, tuple((*at, key) for key in sizes))
    is_equal = bool(stage.examples or stage.dollars)
    if is_equal and stage.shares == "tokens":
        message = f"`{sizes[-1]}` gives a number of examples; remove `shares: tokens`"
        yield Finding((*at, "shares"), message, tuple((*at, key) for key in sizes))
    if stage.order:
        yield from check_order(spec, name, stage.order, stage.datasets, names)
    subject = f"stage `{name}` trains on dataset"
    if stage.dataset:
        yield from check_name((*at, "dataset"), subject, stage.dataset, "datasets", names)
        for key in _OF_A_MIXTURE:
            if key == "repeat" and is_equal:
                continue
            if key in stage.model_fields_set and getattr(stage, key) != type(stage).model_fields[key].default:
                message = f"`{key}` is of a mixture; write `data: {{{stage.dataset}: 1}}` instead of `dataset`"
                yield Finding((*at, key), message, depends)
        return
    for part in stage.data:
        yield from check_name((*at, "data", part), subject, part, "datasets", names)
    total = math.fsum(part.share for part in stage.data.values())
    if abs(total - 1) > 1e-6:
        message = f"the shares of a mixture add up to 1, and these to {total:g}; change one of them"
        yield Finding((*at, "data"), message, tuple((*at, "data", part, "share") for part in stage.data))
        return
    for part, its in stage.data.items():
        most = count_prompts(spec, part)
        if stage.take and not stage.repeat and stage.shares == "examples" and most and most < its.share * stage.take:
            largest = math.floor(most / its.share)
            message = (
                f"`{part}` has at most {most:,} prompts, and its share of the mixture is "
                f"{its.share * stage.take:,.0f}; write `take: {largest:_}` or less, or `repeat: true`"
            )
            yield Finding((*at, "take"), message, (("datasets", part), (*at, "data"), (*at, "repeat")))


def count_prompts(spec: Spec, name: str) -> int | None:
    """Return the largest number of prompts that a dataset can have; None if the spec does not tell."""
    dataset = spec.datasets.get(name)
    if dataset is None or dataset.sample:
        return dataset.sample.take if dataset and dataset.sample else None
    sizes = [getattr(spec.queries.get(source), "take", None) for source in dataset.queries]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None
