"""The first reading of a sample's input: the pool of queries that may be drawn, and the choice among them.

A query takes some 200 bytes in the pool: its place, its task's number, its ticket, and a digest to find duplicates. So
the texts of a large collection need not fit in memory.
"""

from __future__ import annotations

import difflib
import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from orcac import rows
from orcac.bad_rows import MOST_BAD_FIRST, check_bad
from orcac.errors import InputError
from orcac.losses import Losses
from orcac.sample import draw
from orcac.sample.recipe import OWN, SampleRecipe
from orcac.sample.references import NAMED
from orcac.tables.rows import BadRow

BAD = "bad row"  # the reason of rows that cannot be read

# reasons by which nothing is lost: the spec leaves the query out, or another row has it
_NO_LOSS = ("", "task filter", "duplicate", "no choices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The queries that may be drawn."""

    places: draw.Ints  # int64 (n,): positions in the input, ascending
    tasks: draw.Ints  # int64 (n,): numbers of tasks in the order of their names
    tickets: draw.Tickets  # uint64 (n,)
    read: int
    bad: list[BadRow]  # the first rows that cannot be read
    dropped: Counter[str]  # reason -> queries that may not be drawn
    unanswerable: list[rows.Prompt]  # the first of these to which no answer could be right
    losses: Losses  # of tasks and files


Parts = Iterable[tuple[str, Iterable[rows.Prompt | BadRow]]]  # a file's name, or "" for another input, and its prompts


def survey(parts: Parts, recipe: SampleRecipe) -> Pool:
    """Read all prompts once.

    Raises InputError if a task that the recipe names does not occur, or if the first 1,000 rows are all bad.
    """
    wanted = recipe.source.tasks if recipe.source else ()
    by_choice = recipe.source is not None and recipe.source.items == "choices"
    places, tickets, numbers = array("q"), array("Q"), array("q")
    names: dict[str, int] = {}
    others: set[str] = set()
    known: set[bytes] = set()
    dropped: Counter[str] = Counter()
    unanswerable: list[rows.Prompt] = []
    bad: list[BadRow] = []
    losses = Losses()
    place = -1
    for file, prompts in parts:
        losses.add_file(file)
        for prompt in prompts:
            place += 1
            if isinstance(prompt, BadRow):
                dropped[BAD] += 1
                losses.count(BAD, file=file)
                bad += [prompt] if len(bad) < NAMED else []
                if dropped[BAD] == place + 1 == MOST_BAD_FIRST:
                    check_bad(recipe.name, place + 1, place + 1, bad, share=None)  # raises
                continue
            own = f"\x1f{prompt.system}" if prompt.system_id == OWN else ""  # a message of the row's own
            digest = hashlib.sha256(f"{prompt.source}\x1f{prompt.query}{own}".encode()).digest()[:16]
            if wanted and prompt.task not in wanted:
                others.add(prompt.task)
                reason = "task filter"
            elif digest in known:
                reason = "duplicate"
            else:
                reason = _find_loss(prompt, by_choice=by_choice)
            losses.count("" if reason in _NO_LOSS else reason, task=prompt.task, file=file)
            if reason:
                dropped[reason] += 1
                if reason == "reference is no option" and len(unanswerable) < NAMED:
                    unanswerable.append(prompt)
                continue
            known.add(digest)
            places.append(place)
            tickets.append(draw.ticket(recipe.seed, recipe.name, prompt.source, prompt.task, prompt.query))
            numbers.append(names.setdefault(prompt.task, len(names)))
    for task in wanted if names or others else ():
        if task not in names:
            near = difflib.get_close_matches(task, sorted(others), n=3) or sorted(others)[:10]
            raise InputError(
                f"{recipe.name}: no query of task {task!r} can be drawn",
                fix=f"name a task that the files have ({', '.join(near)}), or keep all",
            )
    order = {name: number for number, name in enumerate(sorted(names))}
    renumber = np.array([order[name] for name in names], dtype=np.int64)
    return Pool(
        places=np.array(places),
        tasks=renumber[np.array(numbers)],
        tickets=np.array(tickets),
        read=place + 1,
        bad=bad,
        dropped=dropped,
        unanswerable=unanswerable,
        losses=losses,
    )


def _find_loss(prompt: rows.Prompt, *, by_choice: bool) -> str:
    """Return why an item is of no use; "" if it is. `by_choice`: the likelihoods of its choices are compared."""
    if prompt.reference and prompt.options and prompt.reference not in prompt.options:
        return "reference is no option"
    if by_choice and isinstance(prompt, rows.BenchmarkItem):
        if not prompt.choices:
            return "no choices"
        if not prompt.right:
            return "no right choice"
        if not all(prompt.choices):
            return "empty choice"
    return ""


def choose(pool: Pool, recipe: SampleRecipe) -> tuple[draw.Mask, Counter[str]]:
    """Draw queries from the pool. Return a mask over all places that were read, and the dropped queries by reason.

    Raises InputError if fewer can be drawn than `take` asks for.
    """
    source, subset = recipe.source, recipe.subset
    left = draw.within_caps(pool.tasks, pool.tickets, per_task=source.per_task if source else None)
    tasks, tickets = pool.tasks[left], pool.tickets[left]
    dropped = pool.dropped + Counter({"per_task": len(left) - len(tickets)})
    take = subset.take if subset else source.take if source else None
    if len(tickets) < (1 if take is None else take):
        losses = "".join(f"; {reason}: {count:,}" for reason, count in sorted(dropped.items()))
        raise InputError(
            f"{recipe.name}: {len(tickets):,} queries can be drawn (read: {pool.read:,}{losses}), "
            f"but take is {'all' if take is None else format(take, ',')}",
            fix="lower take or leave it out, or add files"
            if "no choices" not in dropped
            else "compare likelihoods on items with options, or write `method: generate`",
        )
    if take is None:
        drawn = np.ones(len(tickets), dtype=bool)
    elif source and source.sampling == "by-task":
        drawn = draw.by_task(tasks, tickets, take, seed=draw.ticket(recipe.seed, recipe.name, "allocate"))
    else:
        drawn = draw.lowest(tickets, take)
    chosen = np.zeros(pool.read, dtype=bool)
    chosen[pool.places[left][drawn]] = True
    dropped += Counter({"not drawn": int((~drawn).sum())})  # Counter's + leaves zeros out
    return chosen, dropped
