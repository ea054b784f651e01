"""The index of a ledger: for every record of a wanted key its caps, its tokens and its position on disk.

An entry takes 32 bytes with its key, and texts stay on disk, so memory hardly grows with the answers. The entries are
two parallel numpy arrays, sorted by key and then by time. New ones gather in a dict and are merged in together, since
an insertion moves the arrays.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from orcac.chat.ledger.entry import ENTRY, Entries, EntryValues, IndexBlock
from orcac.chat.ledger.files import File
from orcac.chat.ledger.forgotten import Forgotten
from orcac.chat.ledger.keys import CompactKeys, Keys, argsort_keys, compact_keys

EntryNumbers = npt.NDArray[np.int32]  # positions in `Index.entries`, valid until the next merge
_CHUNK = 65_536  # keys that are looked up together


class Index:
    """The entries of the records in `files` with `wanted` keys (sorted; None: all), without the forgotten ones.

    New entries wait outside the arrays until they are more than `max_unmerged` and more than a 64th of the index.
    Raises StoreError if a file is damaged.
    """

    def __init__(
        self, files: Sequence[File], wanted: Keys | None, forgotten: Forgotten, *, max_unmerged: int = 4096
    ) -> None:
        self._wanted = wanted
        self._max_unmerged = max_unmerged
        self._unmerged: dict[bytes, list[tuple[*EntryValues, int, int]]] = {}  # by key: the fields of ENTRY of each
        self._keys: CompactKeys = np.empty(0, "S16" if wanted is None else "u4")
        self._entries: Entries = np.empty(0, ENTRY)
        times = np.empty(0)
        for number, file in enumerate(files):
            for block in file.index(wanted):
                block.entries["file"] = number
                if forgotten:
                    left = forgotten.find_left(
                        block.keys.view("S16") if wanted is None else wanted[block.keys], block.times
                    )
                    block = IndexBlock(block.keys[left], block.times[left], block.entries[left])
                for array, more in ((self._keys, block.keys), (times, block.times), (self._entries, block.entries)):
                    array.resize(len(array) + len(more), refcheck=False)  # in place: there may be millions
                    array[len(array) - len(more) :] = more
        order = argsort_keys(self._keys.view("S16"), times) if wanted is None else np.lexsort((times, self._keys))
        del times
        self._keys = self._keys[order]
        for name in ENTRY.names or ():  # field by field, so that there is never a second copy of all
            self._entries[name] = self._entries[name][order]

    @property
    def entries(self) -> Entries:
        """The merged entries, ENTRY (records,). Read or copy them at once: the next merge may move them."""
        return self._entries

    def find_one(self, key: bytes, cap: int) -> np.void | None:
        """Return the first entry, of dtype ENTRY, that settles a request with this key and max_tokens `cap`."""
        compact: bytes | int = key.rstrip(b"\0")  # numpy strips zeros
        if self._wanted is not None:
            compact = bisect.bisect_left(self._wanted, compact)  # np.searchsorted takes four times as long for one key
            is_wanted = compact < len(self._wanted) and self._wanted[compact] == key.rstrip(b"\0")
            compact = compact if is_wanted else len(self._wanted)  # a compact key that no entry has
        position = bisect.bisect_left(self._keys, compact)
        while position < len(self._keys) and self._keys[position] == compact:
            entry: np.void = self._entries[position]
            if entry["low"] <= cap <= entry["high"]:
                return entry
            position += 1
        for values in self._unmerged.get(key, ()):
            if values[0] <= cap <= values[1]:
                found: np.void = np.array([values], ENTRY)[0]
                return found
        return None

    def find(self, keys: Keys, cap: int) -> EntryNumbers:
        """Return int32 (keys,): the position in `entries` of the first that settles each key under `cap`, or -1."""
        self.merge()
        found = np.full(len(keys), -1, np.int32)
        for begin in range(0, len(keys), _CHUNK):
            some, settled = keys[begin : begin + _CHUNK], found[begin : begin + _CHUNK]
            compact, mask = compact_keys(some, self._wanted)
            at = np.zeros(len(some), np.intp)
            end = at.copy()
            at[mask] = np.searchsorted(self._keys, compact, "left")
            end[mask] = np.searchsorted(self._keys, compact, "right")
            left = np.flatnonzero(at < end)
            while len(left):
                entries = self._entries[at[left]]
                serves = (entries["low"] <= cap) & (cap <= entries["high"])
                settled[left[serves]] = at[left[serves]]
                at[left] += 1
                left = left[~serves & (at[left] < end[left])]
        return found

    def add(self, key: bytes, values: EntryValues, file: int, position: int) -> None:
        """Add the entry of a new record, whether its key is wanted or not."""
        self._unmerged.setdefault(key, []).append((*values, file, position))

    def merge_if_many(self) -> None:
        """Merge the new entries if there are many, so that thousands of records share the cost of moving the arrays."""
        if len(self._unmerged) > max(self._max_unmerged, len(self._keys) // 64):
            self.merge()

    def merge(self) -> None:
        """Insert the new entries of wanted keys into `entries`, behind those of the same key: they are later."""
        if not self._unmerged:
            return
        _, mask = compact_keys(np.array(list(self._unmerged), "S16"), self._wanted)
        new = dict(compress(self._unmerged.items(), mask))
        self._unmerged = dict(compress(self._unmerged.items(), ~mask))  # unwanted keys have no compact form
        keys, _ = compact_keys(np.array([key for key, values in new.items() for _ in values], "S16"), self._wanted)
        entries = np.array([one for values in new.values() for one in values], ENTRY)
        order = np.argsort(keys, kind="stable")
        positions = np.searchsorted(self._keys, keys[order], side="right")
        insert_in_place(self._keys, positions, keys[order])
        insert_in_place(self._entries, positions, entries[order])


def insert_in_place(
    array: CompactKeys | Entries | npt.NDArray[np.int64],
    positions: npt.NDArray[np.intp],
    more: CompactKeys | Entries | npt.NDArray[np.int64],
    *,
    chunk: int = 65_536,
) -> None:
    """Insert the elements of `more` into `array` in place: `more[n]` goes before the present element at `positions[n]`.

    `positions` is ascending. The work begins at the end, `chunk` elements at a time, so there is no second copy of the
    array.
    """
    end = len(array)
    array.resize(end + len(more), refcheck=False)
    while len(positions):
        begin = max(0, end - chunk)
        here = np.searchsorted(positions, begin)
        array[begin + here : end + len(positions)] = np.insert(array[begin:end], positions[here:] - begin, more[here:])
        positions, more, end = positions[:here], more[:here], begin
