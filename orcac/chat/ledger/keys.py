"""Arrays of request keys: building sorted ones, and finding which keys are in them.

A key is the 16-byte digest of a request. A million keys take 16 MB, and are sorted and searched without a Python
object for each.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.bytes_]  # S16 (keys,): digests
CompactKeys = npt.NDArray[np.bytes_ | np.uint32]  # as an index holds them: see `compact_keys`


def pack_keys(keys: Iterable[str]) -> Keys:
    """Return keys, given as 32 hex digits each, as S16 (distinct keys,): sorted, each once."""
    return np.unique(np.fromiter(map(bytes.fromhex, keys), "S16"))


def argsort_keys(keys: Keys, times: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.int64]:
    """Return the order, int64 (keys,), that sorts `keys`. Equal keys are ordered by `times`, or else stay in order.

    Digests are sorted as pairs of integers, which is four times as fast as sorting bytes.
    """
    halves = keys.view(">u8").reshape(-1, 2)
    high, low = halves[:, 0].astype("u8"), halves[:, 1].astype("u8")
    return np.lexsort((low, high) if times is None else (times, low, high))


def compact_keys(keys: Keys, wanted: Keys | None) -> tuple[CompactKeys, npt.NDArray[np.bool_]]:
    """Return (compact, mask): `mask`, bool (keys,), selects the keys that are in `wanted`, which is sorted.

    `compact` holds one entry for each selected key, uint32: its position in `wanted`, which sorts as the key does and
    takes a quarter of its size. If `wanted` is None, every key is selected, and `compact` is `keys`.
    """
    if wanted is None:
        return keys, np.ones(len(keys), bool)
    if not len(wanted):
        return np.empty(0, "u4"), np.zeros(len(keys), bool)
    positions = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    mask = wanted[positions] == keys
    return positions[mask].astype("u4"), mask


def isin(keys: Keys, wanted: Keys | None) -> npt.NDArray[np.bool_]:
    """Return bool (keys,): which of `keys` are in `wanted`, which is sorted; True for all if it is None."""
    return compact_keys(keys, wanted)[1]
