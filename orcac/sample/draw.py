"""Random draws of queries and of their system messages, such that a small change of a spec changes few of them.

The draws come from digests, not from a shared generator. A query's *ticket* is a digest of (seed, sample, source, task,
query), and a random subset is the queries with the lowest tickets; another such digest picks its system message. So the
fate of a query depends on that query alone: not on the order of files, on other sources or tasks, nor on the size of
the draw. A draw of 1,000 is part of the draw of 2,000, and the answers paid for it are used again; arms that differ in
their system messages have the same queries.

Algorithm 1 of the paper (§3.1) picks a non-empty task uniformly, then a query of it without replacement, until enough
are drawn. `allocate` computes its counts per task without a loop over queries: it draws a chunk of picks over the tasks
that have queries left, and takes as many from each as it still has. A pick of a task that runs out inside the chunk is
void. Drawing over all tasks until a pick is valid gives the same distribution as drawing over the remaining tasks, so
the counts have exactly the algorithm's distribution. The stream of picks does not depend on the size of the draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from orcac.digest import uniform64
from orcac.sample.recipe import Draw, Message

Ints = npt.NDArray[np.signedinteger]
Tickets = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

CHUNK = 8192  # picks at a time; another number would give other draws for the same seed


def ticket(seed: int, *names: str) -> int:
    """Return 64 bits from a digest of the seed and the names, uniform over the names."""
    return uniform64("\x1f".join((str(seed), *names)))


def ticket_bytes(seed: int, name: str, *names: Iterable[str]) -> bytes:
    """Return the tickets of rows as 8 bytes each, big-endian. `names` are columns, whose values follow `name`."""
    sha256, begin = hashlib.sha256, f"{seed}\x1f{name}\x1f"
    return b"".join([sha256((begin + "\x1f".join(row)).encode()).digest()[:8] for row in zip(*names, strict=True)])


def pick_message(draw: Draw, *, has_options: bool, seed: int, names: tuple[str, ...]) -> Message:
    """Pick one of the messages that a query may get, uniformly. `names` identify the query."""
    messages = draw.always
    if has_options:
        messages = draw.multiple_choice if draw.alone else draw.always + draw.multiple_choice
    return messages[ticket(seed, "message", *names) % len(messages)]


def within_caps(tasks: Ints, tickets: Tickets, *, per_task: int) -> Mask:
    """Return a mask (n,) of the `per_task` lowest tickets of each task."""
    return _lowest_of_each(tasks, tickets, np.full(len(np.bincount(tasks)), per_task))


def lowest(tickets: Tickets, take: int) -> Mask:
    """Return a mask (n,) of the `take` lowest of n tickets: a uniform random subset."""
    mask = np.zeros(len(tickets), dtype=bool)
    mask[np.argsort(tickets, kind="stable")[:take]] = True
    return mask


def preferred(values: Floats, tickets: Tickets, take: int, *, prefer: Literal["low", "high"]) -> Mask:
    """Return a mask (n,) of the `take` lowest or highest of n values, and among equal values the lowest tickets."""
    mask = np.zeros(len(values), dtype=bool)
    mask[np.lexsort((tickets, values if prefer == "low" else -values))[:take]] = True
    return mask


def by_task(tasks: Ints, tickets: Tickets, take: int, *, seed: int) -> Mask:
    """Return a mask (n,) of `take` of n queries by Algorithm 1. `tasks` (n,) numbers each query's task from 0."""
    counts = allocate(np.bincount(tasks), take, seed=seed)
    return _lowest_of_each(tasks, tickets, counts)


def allocate(sizes: Ints, take: int, *, seed: int, chunk_size: int = CHUNK) -> Ints:
    """Return the number of queries that Algorithm 1 draws from each task, given the tasks' sizes; the sum is `take`."""
    assert 0 <= take <= sizes.sum()
    picks = np.random.PCG64(seed)  # its raw stream is the same in every version of numpy, unlike Generator's
    counts = np.zeros_like(sizes)
    while short := take - int(counts.sum()):
        open_tasks = np.flatnonzero(counts < sizes)
        chunk = open_tasks[picks.random_raw(chunk_size) % np.uint64(len(open_tasks))]
        hits = np.minimum(np.bincount(chunk, minlength=len(sizes)), sizes - counts)
        if hits.sum() <= short:
            counts += hits
            continue
        for task in chunk:  # the last chunk ends once enough are drawn
            if short and counts[task] < sizes[task]:
                counts[task] += 1
                short -= 1
    return counts


def _lowest_of_each(tasks: Ints, tickets: Tickets, counts: Ints) -> Mask:
    """Return a mask (n,) of the lowest tickets of each task, `counts` (tasks,) of them."""
    mask = np.zeros(len(tasks), dtype=bool)
    order = np.lexsort((tickets, tasks))
    ends = np.cumsum(np.bincount(tasks))
    for start, end, count in zip([0, *ends], ends, counts, strict=False):
        mask[order[start : min(start + count, end)]] = True
    return mask
