"""Near duplicates: rows that share most runs of three words with an earlier row (MinHash with LSH, Broder 1997).

A text is the set of its runs of three words, in lower case and without punctuation; a shorter text is one run. The
similarity of two texts is the Jaccard index of their sets. A sketch has the minimum of 128 hash functions over a set
(`rensa`), and two sketches agree at as many places, in the mean, as the sets are similar.

Sketches are cut into bands, and only rows with an equal band are compared: with the first row of that band, and with
the one before. The width of a band is the largest at which rows of the least similarity share one with a probability of
99.9 %. A row is rejected if it is similar to an earlier row, whether that one is kept or not; so of a chain of similar
rows the first one stays.

A row takes 128 bytes, the lowest byte of each place, and 8 bytes for each band. Two places of different rows have an
equal byte once in 256 times, which the estimate takes into account.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from orcac.errors import InputError
from orcac.extras import explain_missing_package, fix_of
from orcac.filter.duplicates import list_parts, name_duplicate, texts_of
from orcac.filter.recipe import FilterRecipe
from orcac.rows import Response

__all__ = ["Sketches", "find_near", "reject_near", "sketch"]

_PLACES, _SEED, _WORDS = 128, 1, 3
_SURE = 0.999  # probability that two rows of the least similarity share a band
_AT_ONCE = 2048
_WORD = re.compile(r"\w+")
_BLANKS = {code: " " for code in range(128) if not _WORD.match(chr(code))}  # as `_WORD`, and faster


class Sketches:
    """The sketches of n texts: the lowest bytes, u1 (n, places), and a hash of each band, u8 (n, bands)."""

    def __init__(self, bytes_: npt.NDArray[np.uint8], bands: npt.NDArray[np.uint64]) -> None:
        self.bytes, self.bands = bytes_, bands


def reject_near(recipe: FilterRecipe, read: Callable[[], Iterable[Response]], reasons: list[str]) -> None:
    """Put the reason of each near duplicate into `reasons`, of the rows that have none yet.

    `read` yields the rows. All rows of a prompt have one question, and share its fate. Raises what `sketch` raises.
    """
    if recipe.near is None:
        return
    assert recipe.sketches
    for part in list_parts(recipe):
        left = [number for number, reason in enumerate(reasons) if not reason]
        chosen = left
        if part == "question":
            prompts = [row.id for row, reason in zip(read(), reasons, strict=True) if not reason]
            chosen = [left[at] for at in range(len(left)) if not at or prompts[at] != prompts[at - 1]]
        wanted = set(chosen)
        texts = (" ".join(texts_of(row, part)) for number, row in enumerate(read()) if number in wanted)
        near = find_near(sketch(texts, recipe.near, recipe.sketches), recipe.near)
        rejected = {number for number, is_near in zip(chosen, near.tolist(), strict=True) if is_near}
        last = -1
        for number in left:
            last = number if number in wanted else last
            if last in rejected:
                reasons[number] = name_duplicate(part, is_near=True)


def sketch(texts: Iterable[str], least: float, version: str) -> Sketches:
    """Return the sketches of texts, for a search with the least similarity `least`.

    Raises InputError unless `version` of the package rensa is installed: another one may have other hash functions.
    """
    with explain_missing_package("`duplicates: {near: ...}`"):
        from rensa import RMinHash
    if (installed := importlib.metadata.version("rensa")) != version:
        raise InputError(
            f"the recipe has sketches of rensa {version}, and {installed} is installed", fix=fix_of("near")
        )
    width = _find_width(least)
    rest, low, bands = iter(texts), [], []
    while some := list(islice(rest, _AT_ONCE)):
        matrix = RMinHash.digest_matrix_from_token_sets([_list_runs(text) for text in some], _PLACES, _SEED)
        places = np.array(matrix.to_rows(), "u4")
        low.append(places.astype("u1"))
        bands.append(_hash_bands(places, width))
    if not low:
        return Sketches(np.empty((0, _PLACES), "u1"), np.empty((0, _PLACES // width), "u8"))
    return Sketches(np.concatenate(low), np.concatenate(bands))


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


def _list_runs(text: str) -> Sequence[str]:
    folded = text.casefold()
    words = folded.translate(_BLANKS).split() if folded.isascii() else _WORD.findall(folded)
    if len(words) < _WORDS:
        return [" ".join(words)]
    return [*map(" ".join, zip(*(words[start:] for start in range(_WORDS)), strict=False))]
