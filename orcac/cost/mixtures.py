"""The expected sizes of the parts of a mixture, by the rules of `orcac.tokenize.mixture`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orcac.cost.figures import Range
from orcac.tokenize.recipe import Mixture

__all__ = ["PackedPart", "mix"]


@dataclass(frozen=True, slots=True)
class PackedPart:
    """The examples of one dataset in the rows of a stage."""

    count: Range
    tokens: Range  # of one example, in tokens of the student
    basis: tuple[str, ...]


def mix(mixture: Mixture, available: Sequence[PackedPart], size: Range | None = None) -> list[Range]:
    """Return the number of examples that each part gives to a mixture.

    available: all examples of each part. size: of a mixture that is as large as the rows of another arm
    """
    in_tokens = mixture.shares == "tokens"
    sizes = [part.count * part.tokens if in_tokens else part.count for part in available]
    if size:
        total = size
    elif mixture.take:
        total = Range(float(mixture.take))
    else:
        bounds = [size / part.share for size, part in zip(sizes, mixture.parts, strict=True)]
        total = (max if mixture.repeat else min)(bounds, key=lambda bound: bound.mid)
    targets = [total * part.share for part in mixture.parts]
    return [target / part.tokens if in_tokens else target for target, part in zip(targets, available, strict=True)]
