"""Sets of request keys as sorted numpy arrays: building them, and finding which keys are in them.

A key is the 16-byte digest of a request. A million of them take 16 MB and are sorted and searched without a Python
object for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.bytes_]  # S16: digests


def packed(keys: Iterable[str]) -> Keys:
    """Keys as `Ledger` wants them: S16, sorted, each once."""
    return np.unique(np.fromiter(map(bytes.fromhex, keys), "S16"))


def order_of(keys: Keys, at: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.int64]:
    """What sorts `keys`; equal ones by `at`, or as they stand. Digests are sorted as numbers: four times as fast."""
    halves = keys.view(">u8").reshape(-1, 2)
    high, low = halves[:, 0].astype("u8"), halves[:, 1].astype("u8")
    return np.lexsort((low, high) if at is None else (at, low, high))


def named(keys: Keys, wanted: Keys | None) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """(names, which): what stands in an index for those of `keys` that are wanted, and which these are.

    A name is the key itself or, where `wanted` is given, which is sorted, its place there: of the same order, and a
    quarter of the size.
    """
    if wanted is None:
        return keys, np.ones(len(keys), bool)
    if not len(wanted):
        return np.empty(0, "u4"), np.zeros(len(keys), bool)
    found = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    which = wanted[found] == keys
    return found[which].astype("u4"), which


def contained(keys: Keys, wanted: Keys | None) -> npt.NDArray[np.bool_]:
    """Which of `keys` are among `wanted`, which is sorted; all where it is None."""
    return named(keys, wanted)[1]
