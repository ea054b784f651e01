"""The first reading of a sample's input: the pool of queries that may be drawn, and the choice among them.

A subset by values draws only questions with a value, within its bounds. Without a preference it takes the lowest
tickets, as any subset does; with one it takes the lowest or the highest values, and the lowest tickets of equal ones.

A row takes 21 bytes in the pool: its ticket, a digest of its query to find duplicates, its task's number, and the
reason for which it may not be drawn. So a large collection need not fit in memory. Two queries that are not equal have
one digest of 64 bits with a chance of 1 in 40,000 among 30 million.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from orcac.bad_rows import MOST_BAD_FIRST, check_bad
from orcac.errors import InputError
from orcac.losses import Losses
from orcac.ratings import Values
from orcac.sample import draw
from orcac.sample.part import BAD, DUPLICATE, FILTERED, NO_OPTION, OUTSIDE, REASONS, UNRATED, Part, Survey
from orcac.sample.recipe import SampleRecipe
from orcac.sample.references import NAMED
from orcac.tables.rows import BadRow

__all__ = ["Pool", "choose", "merge"]

T = TypeVar("T", bound=np.generic)

# reasons by which nothing is lost: the spec leaves the query out, or another row has it
_NO_LOSS = ("", FILTERED, DUPLICATE, "no choices", UNRATED, OUTSIDE)
_KEPT = REASONS.index("")
_AT_ONCE = 1 << 20  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The rows of the input, and which of them may be drawn."""

    codes: npt.NDArray[np.uint8]  # (rows,): indices in REASONS; those with 0 may be drawn
    tasks: npt.NDArray[np.int32]  # (rows,): numbers of tasks in the order of their names
    tickets: draw.Tickets  # uint64 (rows,)
    values: (
        npt.NDArray[np.float64] | None
    )  # (rows,): NaN for a row without a value; None unless a subset is drawn by them
    sizes: list[int]  # rows of each part
    bad: list[BadRow]
    dropped: Counter[str]  # reason -> queries that may not be drawn
    unanswerable: list[int]  # places of the first of these to which no answer could be right
    losses: Losses  # of tasks and files

    @property
    def read(self) -> int:
        return len(self.codes)


def merge(parts: Sequence[Part], surveys: Iterable[Survey], recipe: SampleRecipe, values: Values | None = None) -> Pool:
    """Return the rows of all parts, in order. `values` are those of the questions, for a subset by values.

    Raises InputError if a task that the recipe names does not occur, or if the first 1,000 rows are all bad.
    """
    order: dict[str, int] = {}  # task -> its number, by first occurrence
    all_codes: list[npt.NDArray[np.uint8]] = []
    all_tasks: list[npt.NDArray[np.int32]] = []
    all_tickets: list[draw.Tickets] = []
    all_digests: list[draw.Tickets] = []
    bad: list[BadRow] = []
    for found in surveys:
        numbers = np.array([order.setdefault(name, len(order)) for name in found.names] or [0], dtype=np.int32)
        all_codes.append(found.codes)
        all_tasks.append(numbers[found.tasks])
        all_tickets.append(found.tickets)
        all_digests.append(found.digests)
        bad += found.bad
        if len(bad) >= MOST_BAD_FIRST and _are_bad(all_codes, MOST_BAD_FIRST):
            check_bad(recipe.name, MOST_BAD_FIRST, MOST_BAD_FIRST, bad, share=None)  # raises
    sizes = [len(codes) for codes in all_codes]
    codes = _join(all_codes)
    digests = _join(all_digests)
    _mark_duplicates(codes, digests)
    own = values.find(digests) if values else None
    del digests
    if own is not None:
        _mark_values(codes, own, recipe)
    tasks, tickets = _join(all_tasks), _join(all_tickets)
    names = [*order]
    losses = _count_losses(parts, sizes, codes, tasks, names)
    drawable = np.bincount(tasks[codes == _KEPT], minlength=len(names))
    _check_tasks(recipe, {name for name, count in zip(names, drawable, strict=True) if count}, {*names})
    rank = {name: number for number, name in enumerate(sorted(names))}
    if names:
        tasks = np.array([rank[name] for name in names], dtype=np.int32)[tasks]
    counts = np.bincount(codes, minlength=len(REASONS)).tolist()
    return Pool(
        codes=codes,
        tasks=tasks,
        tickets=tickets,
        values=own,
        sizes=sizes,
        bad=bad,
        dropped=Counter({reason: count for reason, count in zip(REASONS, counts, strict=True) if reason and count}),
        unanswerable=np.flatnonzero(codes == REASONS.index(NO_OPTION))[:NAMED].tolist(),
        losses=losses,
    )


def _join(arrays: list[npt.NDArray[T]]) -> npt.NDArray[T]:
    """Return arrays as one, and drop them."""
    joined = np.concatenate(arrays)
    arrays.clear()
    return joined


def _are_bad(codes: Sequence[npt.NDArray[np.uint8]], count: int) -> bool:
    """Return whether the first `count` rows are all bad."""
    first = np.concatenate([some[:count] for some in codes])[:count]
    return bool((first == REASONS.index(BAD)).all())


def _mark_duplicates(codes: npt.NDArray[np.uint8], digests: draw.Tickets) -> None:
    """Set the code of each row whose query an earlier row has that may be drawn.

    A row that the task filter or its content leaves out does not make a later one a duplicate.
    """
    bad, filtered = REASONS.index(BAD), REASONS.index(FILTERED)
    ordered = np.sort(digests)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(repeated):
        return
    places = []
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        at = np.minimum(np.searchsorted(repeated, some), len(repeated) - 1)
        places.append(start + np.flatnonzero(repeated[at] == some))
    rows = np.concatenate(places)
    rows = rows[(codes[rows] != bad) & (codes[rows] != filtered)]
    _, groups = np.unique(digests[rows], return_inverse=True)
    first = np.full(groups.max(initial=-1) + 1, len(codes), dtype=np.int64)
    kept = codes[rows] == _KEPT
    np.minimum.at(first, groups[kept], rows[kept])
    codes[rows[rows > first[groups]]] = REASONS.index(DUPLICATE)


def _mark_values(codes: npt.NDArray[np.uint8], values: npt.NDArray[np.float64], recipe: SampleRecipe) -> None:
    """Set the code of each row without a value, and of each row whose value is outside the bounds of the recipe."""
    assert recipe.subset
    low, high = recipe.subset.between or (-np.inf, np.inf)
    may = codes == _KEPT
    codes[may & np.isnan(values)] = REASONS.index(UNRATED)
    codes[may & ((values < low) | (values > high))] = REASONS.index(OUTSIDE)


def _count_losses(
    parts: Sequence[Part],
    sizes: Sequence[int],
    codes: npt.NDArray[np.uint8],
    tasks: npt.NDArray[np.int32],
    names: Sequence[str],
) -> Losses:
    losses, start, bad = Losses(), 0, REASONS.index(BAD)
    for part, size in zip(parts, sizes, strict=True):
        losses.add_file(part.file)
        found = codes[start : start + size]
        numbers = tasks[start : start + size].astype(np.int64) * len(REASONS) + found
        for number, count in enumerate(np.bincount(numbers[found != bad]).tolist()):
            task, reason = names[number // len(REASONS)] if count else "", REASONS[number % len(REASONS)]
            if count:
                losses.count("" if reason in _NO_LOSS else reason, task=task, file=part.file, rows=count)
        if count := int((found == bad).sum()):
            losses.count(BAD, file=part.file, rows=count)
        start += size
    return losses


def _check_tasks(recipe: SampleRecipe, drawable: set[str], names: set[str]) -> None:
    """Raise InputError if no query of a task that the recipe names can be drawn."""
    wanted = recipe.source.tasks if recipe.source else ()
    others = names - {*wanted}
    for task in wanted if drawable or others else ():
        if task not in drawable:
            near = difflib.get_close_matches(task, sorted(others), n=3) or sorted(others)[:10]
            raise InputError(
                f"{recipe.name}: no query of task {task!r} can be drawn",
                fix=f"name a task that the files have ({', '.join(near)}), or keep all",
            )


def choose(pool: Pool, recipe: SampleRecipe, *, label: str) -> tuple[draw.Mask, Counter[str]]:
    """Draw queries from the pool. Return a mask over all places that were read, and the dropped queries by reason.

    Raises InputError if fewer can be drawn than `take` asks for.
    """
    source, subset = recipe.source, recipe.subset
    places = np.flatnonzero(pool.codes == _KEPT)
    tasks, tickets = pool.tasks[places], pool.tickets[places]
    dropped = pool.dropped
    if source and source.per_task is not None:
        left = draw.within_caps(tasks, tickets, per_task=source.per_task)
        places, tasks, tickets = places[left], tasks[left], tickets[left]
        dropped = dropped + Counter({"per_task": len(left) - len(tickets)})
    take = subset.take if subset else source.take if source else None
    if len(tickets) < (1 if take is None else take):
        losses = "".join(f"; {reason}: {count:,}" for reason, count in sorted(dropped.items()))
        raise InputError(
            f"{label}: {len(tickets):,} queries can be drawn (read: {pool.read:,}{losses}), "
            f"but take is {'all' if take is None else format(take, ',')}",
            fix=_find_fix(recipe, dropped),
        )
    if take is None:
        drawn = np.ones(len(tickets), dtype=bool)
    elif source and source.sampling == "by-task":
        drawn = draw.by_task(tasks, tickets, take, seed=draw.ticket(recipe.seed, recipe.name, "allocate"))
    elif subset and subset.prefer:
        assert pool.values is not None
        drawn = draw.preferred(pool.values[places], tickets, take, prefer=subset.prefer)
    else:
        drawn = draw.lowest(tickets, take)
    chosen = np.zeros(pool.read, dtype=bool)
    chosen[places[drawn]] = True
    return chosen, dropped + Counter({"not drawn": int((~drawn).sum())})  # Counter's + leaves zeros out


def _find_fix(recipe: SampleRecipe, dropped: Counter[str]) -> str:
    """Return the advice for a sample of which too few queries can be drawn."""
    if recipe.subset and recipe.subset.is_by_value:
        return "lower `take`, widen `between`, or ask more questions in the dataset that it is drawn from"
    if "no choices" in dropped:
        return "compare likelihoods on items with options, or write `method: generate`"
    return "lower take or leave it out, or add files"
