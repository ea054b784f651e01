"""Several transfers at once, and their progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from orcac.progress import Progress

T = TypeVar("T")
R = TypeVar("R")
Counter = Callable[[int], None]  # gets the bytes of each read or write
AT_ONCE = 8  # transfers; a library may split one of them into several requests


def each(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield (item, work(item)) of each item as it is done, a few at once.

    The first error is raised once the transfers under way have ended; no further one is begun.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed  # here: `orcac compile` should start at once

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Meter:
    """Progress lines over the bytes of several transfers, with the rate and the time left."""

    def __init__(self, label: str, total: int, *, quiet: bool) -> None:
        self._total, self._done, self._lock = max(total, 1), 0, threading.Lock()
        self._megabytes = max(total // 10**6, 1)
        self._progress = None if quiet else Progress(label=label, total=self._megabytes, unit="MB")

    def add(self, count: int) -> None:
        """Count bytes that were transferred, or that are there already."""
        with self._lock:
            self._done += count
            if self._progress:
                whole = self._done >= self._total
                self._progress.update(self._megabytes if whole else min(self._done // 10**6, self._megabytes - 1))
