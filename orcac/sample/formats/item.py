"""What every format's reader yields: one query, the task it belongs to, and what is known of its answer.

A reader is a function `read(path, name, source) -> Iterator[Item]`: `path` is where the file lies on this
machine, `name` is its base name as the spec knew it (some formats take the task's name from it), `source`
holds the fields that a generic format needs. Readers keep every row, in the file's order; leaving rows out
is `sample.run`'s work, where it is counted.

One convention for all formats: where the choices carry letters, `options` are the letters in brackets,
"(A)", "(B)", ..., and `reference` is one of them; otherwise `options` are the choices' own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orcac.sample.recipe import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    task: str
    query: str
    reference: str = ""  # "" is unknown
    options: tuple[str, ...] = ()  # () is free-form


Reader = Callable[[Path, str, Source], Iterator[Item]]
