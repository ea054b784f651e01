"""Near duplicates: rows that share most runs of three words with an earlier row (MinHash with LSH, Broder 1997).

A text is the set of its runs of three words, in lower case and without punctuation; a shorter text is one run. The
similarity of two texts is the Jaccard index of their sets. A sketch has the minimum of 128 hash functions over a set
(`rensa`), and two sketches agree at as many places, in the mean, as the sets are similar.

Sketches are cut into bands, and only rows with an equal band are compared: with the first row of that band, and with
the one before. The width of a band is the largest at which rows of the least similarity share one with a probability of
99.9 %. A row is rejected if it is similar to an earlier row, whether that one is kept or not; so of a chain of similar
rows the first one stays.

A row takes 128 bytes, the lowest byte of each place, and 8 bytes for each band, in memory until all rows are read. Two
places of different rows have an equal byte once in 256 times, which the estimate takes into account.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from orcac.errors import InputError
from orcac.extras import explain_missing_package, fix_of
from orcac.filter.duplicates import Part, list_parts, name_duplicate, texts_of
from orcac.filter.recipe import FilterRecipe
from orcac.rows import Response
from orcac.words import split_words

__all__ = ["NearDuplicates", "Sketcher", "Sketches", "find_near", "sketch"]

_PLACES, _SEED, _WORDS = 128, 1, 3
_SURE = 0.999  # probability that two rows of the least similarity share a band
_AT_ONCE = 2048
_RUNS_AT_ONCE = 256  # texts whose runs are in memory together


class Sketches:
    """The sketches of n texts: the lowest bytes, u1 (n, places), and a hash of each band, u8 (n, bands)."""

    def __init__(self, bytes_: npt.NDArray[np.uint8], bands: npt.NDArray[np.uint64]) -> None:
        self.bytes, self.bands = bytes_, bands

    def __getitem__(self, chosen: npt.NDArray[np.int64]) -> Sketches:
        return Sketches(self.bytes[chosen], self.bands[chosen])


class NearDuplicates:
    """A search among the rows that all other rules of a recipe leave. Raises what `Sketcher` raises."""

    def __init__(self, recipe: FilterRecipe) -> None:
        self._least = recipe.near
        self._rows: list[int] = []  # numbers of the rows
        self._last_id = ""
        self._sketchers: dict[Part, Sketcher] = {}
        self._texts: dict[Part, list[int]] = {}  # of each row, the number of its text among those sketched
        if recipe.near is not None:
            assert recipe.sketches
            self._sketchers = {part: Sketcher(recipe.near, recipe.sketches) for part in list_parts(recipe)}
            self._texts = {part: [] for part in self._sketchers}

    def add(self, number: int, row: Response) -> None:
        """Add the row with this number. All rows of a prompt have one question, which is sketched once."""
        if not self._sketchers:
            return
        for part, sketcher in self._sketchers.items():
            if part != "question" or row.id != self._last_id or not self._rows:
                sketcher.add(texts_of(row, part))
            self._texts[part].append(len(sketcher) - 1)
        self._rows.append(number)
        self._last_id = row.id

    def reject(self, reasons: list[str]) -> None:
        """Put the reason of each near duplicate into `reasons`, of all rows. Rows of one question share its fate."""
        numbers = np.array(self._rows, np.int64)
        for part, sketcher in self._sketchers.items():
            assert self._least is not None
            left = np.array([not reasons[number] for number in self._rows], bool)
            chosen, text_of = np.unique(np.array(self._texts[part], np.int64)[left], return_inverse=True)
            near = find_near(sketcher.finish()[chosen], self._least)
            for number in numbers[left][near[text_of]].tolist():
                reasons[number] = name_duplicate(part, is_near=True)


class Sketcher:
    """Sketches of texts that are added one after another, for a search with the least similarity `least`.

    Raises InputError unless `version` of the package rensa is installed: another one may have other hash functions.
    """

    def __init__(self, least: float, version: str) -> None:
        with explain_missing_package("`duplicates: {near: ...}`"):
            from rensa import RMinHash
        if (installed := importlib.metadata.version("rensa")) != version:
            raise InputError(
                f"the recipe has sketches of rensa {version}, and {installed} is installed", fix=fix_of("near")
            )
        self._digest = RMinHash.digest_matrix_from_token_sets
        self._width = _find_width(least)
        self._count = 0
        self._runs: list[Sequence[bytes]] = []  # of the texts that are not yet sketched
        self._bytes = [np.empty((0, _PLACES), "u1")]
        self._bands = [np.empty((0, _PLACES // self._width), "u8")]

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Iterable[str]) -> None:
        """Add a text, given as several that follow one another."""
        self._runs.append(_list_runs([*chain.from_iterable(map(split_words, texts))]))
        self._count += 1
        if len(self._runs) == _RUNS_AT_ONCE:
            self._sketch()

    def finish(self) -> Sketches:
        """Return the sketches of all texts."""
        if self._runs:
            self._sketch()
        return Sketches(np.concatenate(self._bytes), np.concatenate(self._bands))

    def _sketch(self) -> None:
        places = np.array(self._digest(self._runs, _PLACES, _SEED).to_rows(), "u4")
        self._runs = []
        self._bytes.append(places.astype("u1"))
        self._bands.append(_hash_bands(places, self._width))


def sketch(texts: Iterable[str], least: float, version: str) -> Sketches:
    """Return the sketches of texts. Raises what `Sketcher` raises."""
    sketcher = Sketcher(least, version)
    for text in texts:
        sketcher.add([text])
    return sketcher.finish()


def find_near(sketches: Sketches, least: float) -> npt.NDArray[np.bool_]:
    """Return bool (n,): the rows that are similar to an earlier one."""
    near = np.zeros(len(sketches.bytes), bool)
    for band in sketches.bands.T:
        order = np.argsort(band, kind="stable")
        is_new = np.ones(len(order), bool)
        is_new[1:] = band[order[1:]] != band[order[:-1]]
        starts = np.flatnonzero(is_new)
        first = order[starts[np.cumsum(is_new) - 1]] if len(order) else order
        before = np.concatenate([order[:1], order[:-1]])
        for other in (first, before):
            left = ~is_new & ~near[order]
            rows, others = order[left], other[left]
            near[rows[_are_similar(sketches.bytes, rows, others, least)]] = True
    return near


def _are_similar(
    low: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64], least: float
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(rows), bool)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        equal = (low[rows[part]] == low[others[part]]).mean(axis=1)
        found[part] = (equal - 1 / 256) / (1 - 1 / 256) >= least
    return found


def _find_width(least: float) -> int:
    """Return the places of a band."""
    widths = (width for width in (32, 16, 8, 4, 2) if 1 - (1 - least**width) ** (_PLACES // width) >= _SURE)
    return next(widths, 1)


def _hash_bands(places: npt.NDArray[np.uint32], width: int) -> npt.NDArray[np.uint64]:
    """Return a hash of each band of each row, u8 (n, places / width); overflow is part of the hash."""
    bands = places.reshape(len(places), -1, width).astype("u8")
    hashed = np.full(bands.shape[:2], 0xCBF29CE484222325, "u8")
    with np.errstate(over="ignore"):
        for place in range(width):
            hashed = (hashed ^ bands[:, :, place]) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(29)
    return hashed


def _list_runs(words: Sequence[bytes]) -> Sequence[bytes]:
    if len(words) < _WORDS:
        return [b" ".join(words)]
    return [*map(b" ".join, zip(*(words[start:] for start in range(_WORDS)), strict=False))]
