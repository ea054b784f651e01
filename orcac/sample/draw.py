"""Which queries are taken and which system message each one gets, so that a changed spec changes little
else.

Chance comes from digests, not from a shared generator. A query's *ticket* is a digest of (seed, sample,
source, task, query), and a random subset is the lowest tickets; its system message is picked by another
such digest. So what happens to one query depends on nothing else: not on the order of files, on other
sources or tasks, nor on how many are taken. A draw of 1,000 is part of the draw of 2,000, and the answers
paid for it are used again; arms that differ in their system messages have the same queries.

Algorithm 1 of the paper (§3.1) picks a non-empty task uniformly, then a query of it without replacement,
until enough are drawn. `allocate` gives its counts for each task without looping over queries: it draws a
chunk of picks over the tasks that are open and takes from each what it still has. A pick of a task that
fell empty inside the chunk is void, and to draw again over all tasks is the same as to draw over the rest,
so the counts have exactly the algorithm's distribution. The stream of picks does not depend on how many are
wanted.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from orcac.sample.recipe import Draw, Message

Ints = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

CHUNK = 8192  # picks at a time; a part of what a seed means


def ticket(seed: int, *names: str) -> int:
    """64 bits, uniform over whatever is named."""
    text = "\x1f".join((str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def pick_message(draw: Draw, *, has_options: bool, seed: int, names: tuple[str, ...]) -> Message:
    """One of the messages that a query may get, uniformly. `names` say whose pick it is."""
    messages = draw.always
    if has_options:
        messages = draw.multiple_choice if draw.alone else draw.always + draw.multiple_choice
    return messages[ticket(seed, "message", *names) % len(messages)]


def within_caps(tasks: Ints, tickets: Ints, *, per_task: int | None) -> Mask:
    """The `per_task` lowest tickets of each task; None is no cap."""
    return _rank(tasks, tickets) < (len(tasks) if per_task is None else per_task)


def lowest(tickets: Ints, take: int) -> Mask:
    """The `take` lowest of n tickets: a uniform random subset, as a mask (n,)."""
    mask = np.zeros(len(tickets), dtype=bool)
    mask[np.argsort(tickets, kind="stable")[:take]] = True
    return mask


def by_task(tasks: Ints, tickets: Ints, take: int, *, seed: int) -> Mask:
    """`take` of n queries by Algorithm 1, as a mask (n,). `tasks` (n,) holds numbers from 0."""
    counts = allocate(np.bincount(tasks), take, seed=seed)
    return _rank(tasks, tickets) < counts[tasks]


def allocate(sizes: Ints, take: int, *, seed: int) -> Ints:
    """How many queries Algorithm 1 draws from each task, of tasks of these sizes; they sum to `take`."""
    assert 0 <= take <= sizes.sum()
    picks = np.random.PCG64(seed)  # its raw stream is the same in every version of numpy, unlike Generator's
    counts = np.zeros_like(sizes)
    while short := take - int(counts.sum()):
        open_tasks = np.flatnonzero(counts < sizes)
        chunk = open_tasks[picks.random_raw(CHUNK) % np.uint64(len(open_tasks))]
        hits = np.minimum(np.bincount(chunk, minlength=len(sizes)), sizes - counts)
        if hits.sum() <= short:
            counts += hits
            continue
        for task in chunk:  # the last chunk is cut where enough are drawn
            if short and counts[task] < sizes[task]:
                counts[task] += 1
                short -= 1
    return counts


def _rank(tasks: Ints, tickets: Ints) -> Ints:
    """(n,): how many tickets of the same task are lower."""
    sizes = np.bincount(tasks)
    rank = np.empty_like(tasks)
    rank[np.lexsort((tickets, tasks))] = np.arange(len(tasks)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank
