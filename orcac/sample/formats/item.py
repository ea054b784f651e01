"""Items, which every format's reader yields: a query, its task, its reference answer and its options.

A reader is a function `read(path, name, source) -> Iterator[Item | BadRow]`: `path` is the file on this machine, `name`
is its base name in the spec (some formats take the task's name from it), `source` has the fields that a generic format
needs. Readers yield every row, in the file's order; one that cannot be read is a `BadRow`.

All formats share one convention: if the choices have letters, `options` are the letters in brackets, "(A)", "(B)", ...,
and `reference` is one of them; otherwise `options` are the choices' own words.

Under `likelihood` no model reads these texts as answers: each choice continues the query, and the likelihoods of the
choices are compared. The choices are the options, unless the reader gives `choices` (as lm-evaluation-harness has them:
AGIEval's are printed with letter and text, BIG-Bench Hard's are its letters or words).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orcac.sample.recipe import Source
from orcac.tables.rows import BadRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One query of a file."""

    task: str
    query: str
    reference: str = ""  # "" if unknown
    references: tuple[str, ...] = ()  # all right answers, if the file lists several
    options: tuple[str, ...] = ()  # () if free-form
    choices: tuple[str, ...] = ()  # continuations of the query, one for each option; () if they are the options
    right: tuple[int, ...] = ()  # indices of the right options; () if `reference` is the only one
    system: str | None = None  # the row's own system message; None if it has none
    later_turns: int = 0  # of a conversation, those that are not used
    place: int = field(default=0, compare=False)  # its line in the file, or its number in a JSON document

    def benchmark_fields(self) -> dict[str, list[str] | list[int]]:
        """Return the fields that `rows.BenchmarkItem` has beyond a prompt."""
        right = self.right or [index for index, option in enumerate(self.options) if option == self.reference]
        return {
            "references": list(self.references),
            "choices": list(self.choices or self.options),
            "right": list(right),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Items of a file as columns, in the file's order: those that have no fields but these."""

    queries: Sequence[str]
    tasks: Sequence[str]
    options: Mapping[int, tuple[str, ...]]  # by the item's index; those of items that list some
    references: Mapping[int, str]  # likewise; absent if unknown
    systems: Sequence[str] | None  # the rows' own system messages


Reader = Callable[[Path, str, Source], Iterator[Item | BadRow]]
