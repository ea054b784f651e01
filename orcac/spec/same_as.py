"""Stages that have as many tokens, steps, examples or dollars as those of another arm: which stages these are, and the
mistakes in naming them.

`tokens` and `steps` are lengths of a training, `examples` and `dollars` are sizes of its data. In a sweep, `same_as:
ARM` is that arm at the same point of the sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from orcac.chat.settings import FREE
from orcac.spec.finding import join_names
from orcac.spec.schema import OpenAIEndpoint, ReferenceEndpoint, ReplayEndpoint, SameAs, Spec, Stage
from orcac.tokenize.recipe import AnswerPrice

__all__ = ["FIGURES", "Figure", "Twin", "find_mistake", "find_price", "find_twins"]

Figure = Literal["tokens", "steps", "examples", "dollars"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
_LENGTHS: tuple[Figure, ...] = ("tokens", "steps")
_SIZES: tuple[Figure, ...] = ("examples", "dollars")


class Twin(NamedTuple):
    """A stage whose figure is its own, in the arm `arm`."""

    arm: str
    stage: str


def find_twins(specs: Mapping[str, Spec], arm: str, stage: str, figure: Figure) -> list[Twin]:
    """Return the stages whose figure the stage takes, through those that have `same_as` for this figure again.

    specs: arm -> its spec. They must have no mistake (`find_mistake`).
    """
    same = getattr(specs[arm].stages[stage], figure)
    assert isinstance(same, SameAs)
    found = []
    for twin in _name_twins(specs, arm, stage, same):
        if isinstance(getattr(specs[twin.arm].stages[twin.stage], figure), SameAs):
            found += find_twins(specs, *twin, figure)
        else:
            found.append(twin)
    return found


def find_mistake(specs: Mapping[str, Spec], arm: str, stage: str, figure: Figure) -> str:
    """Return the mistake in the `same_as` of a figure of a stage, or ""."""
    if figure == "dollars" and not _costs_dollars(specs[arm], specs[arm].stages[stage]):
        return f"none of the answers of stage `{stage}` has a price; {_PRICED}"
    path = [Twin(arm, stage)]
    todo = [(Twin(arm, stage), figure, path)]
    while todo:
        (arm, stage), figure, path = todo.pop()
        same = getattr(specs[arm].stages[stage], figure)
        assert isinstance(same, SameAs)
        if _at_same_point(specs, arm, same.same_as) not in specs:
            more = f", or write the number of {figure}" if figure in _LENGTHS else ""
            return (
                f"there is no arm `{same.same_as}` to take the {figure} of; arms: {join_names(specs)}; add it to "
                f"`ablations`{more}"
            )
        for twin in _name_twins(specs, arm, stage, same):
            known = [name for name in specs[twin.arm].curriculum if name in specs[twin.arm].stages]
            if twin.stage not in known:
                return (
                    f"the arm `{twin.arm}` trains no stage `{twin.stage}`; name its stages, as in "
                    f"`stages: [{join_names(known)}]`"
                )
            if twin in path:
                steps = " -> ".join(f"{one.arm}: {one.stage}" for one in [*path, twin])
                fix = "`epochs`, or a number" if figure in _LENGTHS else "`take`"
                return f"stages take the {figure} of one another: {steps}; give one of them {fix}"
            if lack := _find_lack(specs, twin, figure):
                return lack
            stated = specs[twin.arm].stages[twin.stage]
            for further in _LENGTHS if figure in _LENGTHS else _SIZES:
                if isinstance(getattr(stated, further), SameAs):
                    todo.append((twin, further, [*path, twin]))
    return ""


_PRICED = "give a teacher that is asked a `price: {input, output}`"


def _find_lack(specs: Mapping[str, Spec], twin: Twin, figure: Figure) -> str:
    """Return why a stage does not have the figure, or "" if it does."""
    stage = specs[twin.arm].stages[twin.stage]
    if figure == "dollars" and not _costs_dollars(specs[twin.arm], stage):
        return f"stage `{twin.stage}` of the arm `{twin.arm}` has no dollars: its answers are free; {_PRICED}"
    other: Figure = "steps" if figure == "tokens" else "tokens"
    if figure in _LENGTHS and getattr(stage, other):
        return (
            f"stage `{twin.stage}` of the arm `{twin.arm}` has a number of {other}, and its {figure} depend on the "
            f"order of its rows; write `{other}: {{same_as: {twin.arm}}}`, or give that stage `epochs`"
        )
    return ""


def _costs_dollars(spec: Spec, stage: Stage) -> bool:
    """Return whether the answers of some dataset of a stage have a price. A dataset that is not defined counts."""
    return any(price is None or price.input or price.output for price in _list_prices(spec, stage))


def _list_prices(spec: Spec, stage: Stage) -> Iterator[AnswerPrice | None]:
    for name in stage.datasets:
        dataset = spec.datasets.get(name)
        yield find_price(spec, name) if dataset and dataset.teacher in spec.teachers else None


def find_price(spec: Spec, dataset: str) -> AnswerPrice:
    """Return the price of the answers of a dataset: in batches that of batches; 0 for recordings and references."""
    teacher = spec.teachers[spec.datasets[dataset].teacher]
    price, endpoint = teacher.price or FREE, teacher.endpoint
    if isinstance(endpoint, ReplayEndpoint | ReferenceEndpoint):
        price = FREE
    share = price.batch if isinstance(endpoint, OpenAIEndpoint) and endpoint.mode != "online" else 1.0
    return AnswerPrice(input=price.input * share, output=price.output * share)


def _name_twins(specs: Mapping[str, Spec], arm: str, stage: str, same: SameAs) -> list[Twin]:
    other = _at_same_point(specs, arm, same.same_as)
    return [Twin(other, name) for name in same.stages or (stage,)]


def _at_same_point(specs: Mapping[str, Spec], arm: str, other: str) -> str:
    """Return the name of the arm `other` at the point of the sweep at which `arm` is."""
    for place, letter in enumerate(arm):
        if letter == "." and other + arm[place:] in specs:
            return other + arm[place:]
    return other
