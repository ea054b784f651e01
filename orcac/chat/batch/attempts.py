"""The attempts of batches at each request of a run, in 21 bytes a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from orcac.chat.failures import ERRORS, Action
from orcac.chat.ledger.keys import Keys, compact_keys, pack_keys
from orcac.chat.ledger.record import FAILURES
from orcac.chat.settings import EndpointSettings

Mask = npt.NDArray[np.bool_]  # one entry for each key


class Attempts:
    """The distinct requests of a run by sorted key, each with the batches that failed to answer it."""

    def __init__(self, keys: Iterable[str], settings: EndpointSettings) -> None:
        self.keys = pack_keys(keys)
        self._error = np.zeros(len(self.keys), "u1")  # index in FAILURES of the last failure; 0: no batch failed it
        self._failed = np.zeros(len(self.keys), "u4")  # batches that failed to answer it
        self._limits = np.array([_max_batches(error, settings.attempts) for error in FAILURES])
        self._is_batch_mode = settings.mode == "batch"

    def __len__(self) -> int:
        return len(self.keys)

    def add_failures(self, keys: Keys, error: str) -> bool:
        """Record that a batch failed to answer some requests. Returns False if none of them is of this run."""
        places, _ = compact_keys(keys, self.keys)
        self._error[places] = FAILURES.index(error)
        self._failed[places] += 1
        return len(places) > 0

    def clear_failures(self, settled: Mask) -> None:
        """Remove the failures of requests that are settled now."""
        self._error[settled] = 0

    def may_be_batched(self) -> Mask:
        """Return a mask of the requests that a further batch may ask: those without a failure or with tries left."""
        failed = self._error > 0
        return ~failed | (self._failed < self._limits[self._error]) if self._is_batch_mode else ~failed

    def count_unanswered(self) -> int:
        """Return the number of requests that a batch left unanswered and a further one may ask."""
        return int(((self._error == FAILURES.index("not_answered")) & self.may_be_batched()).sum())

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the class of error of each request that batches failed to answer."""
        keys = self.keys.view("u1").reshape(-1, 16)
        for place in np.flatnonzero(self._error).tolist():
            yield keys[place].tobytes().hex(), FAILURES[self._error[place]]


def _max_batches(error: str, attempts: int) -> int:
    """Return the number of batches that may fail a request with a class of error before it is given up."""
    if error == "not_answered":
        return attempts
    if not error or ERRORS[error].action not in (Action.RETRY, Action.SLOW_DOWN):
        return 0
    return min(attempts, ERRORS[error].attempts or attempts)
