"""Stages that are as long as those of another arm: which stages these are, and the mistakes in naming them.

In a sweep, `same_as: ARM` is that arm at the same point of the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from orcac.spec.finding import join_names
from orcac.spec.schema import SameAs, Spec

__all__ = ["Twin", "find_mistake", "find_twins"]


class Twin(NamedTuple):
    """A stage whose length is its own, in the arm `arm`."""

    arm: str
    stage: str


def find_twins(specs: Mapping[str, Spec], arm: str, stage: str) -> list[Twin]:
    """Return the stages whose tokens a stage with `same_as` is trained on, through those that have `same_as` again.

    specs: arm -> its spec. They must have no mistake (`find_mistake`).
    """
    found = []
    for twin in _name_twins(specs, arm, stage, _length(specs, arm, stage)):
        if isinstance(specs[twin.arm].stages[twin.stage].tokens, SameAs):
            found += find_twins(specs, *twin)
        else:
            found.append(twin)
    return found


def find_mistake(specs: Mapping[str, Spec], arm: str, stage: str) -> str:
    """Return the mistake in the `same_as` of a stage, or ""."""
    path = [Twin(arm, stage)]
    todo = [(Twin(arm, stage), path)]
    while todo:
        (arm, stage), path = todo.pop()
        length = specs[arm].stages[stage].tokens
        if not isinstance(length, SameAs):
            continue
        if _at_same_point(specs, arm, length.same_as) not in specs:
            return (
                f"there is no arm `{length.same_as}` to be as long as; arms: {join_names(specs)}; add it to "
                "`ablations`, or write the number of tokens"
            )
        for twin in _name_twins(specs, arm, stage, length):
            known = specs[twin.arm].curriculum
            if twin.stage not in known:
                return (
                    f"the arm `{twin.arm}` trains no stage `{twin.stage}`; name its stages, as in "
                    f"`stages: [{join_names(known)}]`"
                )
            if twin in path:
                steps = " -> ".join(f"{one.arm}: {one.stage}" for one in [*path, twin])
                return f"stages are as long as one another: {steps}; give one of them `epochs`, or a number of tokens"
            todo.append((twin, [*path, twin]))
    return ""


def _length(specs: Mapping[str, Spec], arm: str, stage: str) -> SameAs:
    length = specs[arm].stages[stage].tokens
    assert isinstance(length, SameAs)
    return length


def _name_twins(specs: Mapping[str, Spec], arm: str, stage: str, length: SameAs) -> list[Twin]:
    other = _at_same_point(specs, arm, length.same_as)
    return [Twin(other, name) for name in length.stages or (stage,)]


def _at_same_point(specs: Mapping[str, Spec], arm: str, other: str) -> str:
    """Return the name of the arm `other` at the point of the sweep at which `arm` is."""
    for place, letter in enumerate(arm):
        if letter == "." and other + arm[place:] in specs:
            return other + arm[place:]
    return other
