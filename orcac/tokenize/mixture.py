"""Mixtures: the examples that a stage takes from each of several datasets.

A part takes its examples in the order of their *tickets*, digests of the seed and of the example itself. So a smaller
share of a part is within a larger one, and neither the other parts nor the order of the parts affects its examples. A
part that repeats takes all of its examples as often as its share allows, and then the first ones once more.

The size of a mixture is `take`. Without it, a mixture is as large as it can be without a repetition, which uses up one
part; with `repeat` it is as small as it can be with every example at least once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from orcac.digest import uniform64
from orcac.errors import InputError
from orcac.tokenize.recipe import Mixture, Part, PartSummary

__all__ = ["Drawn", "draw_mixture", "ticket"]


class Drawn(NamedTuple):
    """The examples of a mixture."""

    indices: np.ndarray  # int64, into all examples; an example that is repeated occurs several times
    parts: tuple[PartSummary, ...]
    repeated: int  # occurrences of examples beside their first
    undrawn: int  # examples that do not occur


def ticket(seed: int, part: Part, *texts: str) -> int:
    """Return 64 bits from a digest of the seed, the texts of an example and the way in which the part changes them."""
    way = part.model_copy(update={"share": 0.0}).model_dump_json(exclude={"lengths"})  # bounds change no draw
    return uniform64("\x1f".join((f"mixture {seed} {way}", *texts)))


def draw_mixture(
    mixture: Mixture,
    names: Sequence[str],
    *,
    members: Sequence[np.ndarray],
    lengths: np.ndarray,
    tickets: np.ndarray,
) -> Drawn:
    """Return the examples of a mixture.

    names: of the parts, for messages. members: of each part the indices of its examples, int64. lengths: int64
    (examples,), in tokens. tickets: uint64 (examples,). Raises InputError if a part has too few examples for its share,
    or if its share is less than one example.
    """
    orders = [some[np.argsort(tickets[some], kind="stable")] for some in members]
    sizes = [lengths[order] if mixture.shares == "tokens" else np.ones(len(order), dtype=np.int64) for order in orders]
    available = [int(size.sum()) for size in sizes]
    targets = _find_targets(mixture, names, available)
    drawn = [_take(order, size, target) for order, size, target in zip(orders, sizes, targets, strict=True)]
    for name, some in zip(names, drawn, strict=True):
        if not len(some):
            raise InputError(
                f"the mixture has no example of `{name}`: its share is less than one",
                fix="raise its share or `take`, or collect more answers",
            )
    indices = np.concatenate(drawn)
    distinct = len(np.unique(indices))
    return Drawn(
        indices,
        tuple(
            PartSummary(dataset=name, available=len(order), examples=len(some), tokens=int(lengths[some].sum()))
            for name, order, some in zip(names, orders, drawn, strict=True)
        ),
        repeated=len(indices) - distinct,
        undrawn=sum(map(len, members)) - distinct,
    )


def _find_targets(mixture: Mixture, names: Sequence[str], available: Sequence[int]) -> list[int]:
    """Return the size of each part, in the unit of the shares; the sum is the size of the mixture.

    available: the sizes of all examples of each part
    """
    shares = [Fraction(str(part.share)) for part in mixture.parts]
    shares = [share / sum(shares) for share in shares]
    bounds = [size / share for size, share in zip(available, shares, strict=True)]
    total = mixture.take or (math.ceil(max(bounds)) if mixture.repeat else math.floor(min(bounds)))
    targets = [math.floor(total * share) for share in shares]
    rests = [total * share - target for share, target in zip(shares, targets, strict=True)]
    for number in sorted(range(len(shares)), key=lambda number: (-rests[number], number))[: total - sum(targets)]:
        targets[number] += 1
    for name, size, target in zip(names, available, targets, strict=True):
        if not size or (target > size and not mixture.repeat):
            smaller = "" if mixture.same else f"write `take: {math.floor(min(bounds)):_}` or less, "
            raise InputError(
                f"`{name}` has {size:,} {mixture.shares} and its share of the mixture is {target:,}",
                fix=f"{smaller}write `repeat: true`, or collect more answers"
                if size
                else "loosen the filters, or collect more answers",
            )
    return targets


def _take(order: np.ndarray, sizes: np.ndarray, target: int) -> np.ndarray:
    """Return the first members of `order`, as often as needed, whose total size is the nearest to `target`."""
    whole, rest = divmod(target, int(sizes.sum()))
    ends = np.concatenate([[0], sizes.cumsum()])
    return np.concatenate([np.tile(order, whole), order[: int(np.abs(ends - rest).argmin())]])
