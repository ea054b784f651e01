"""The answers that a query offers, in the block at the end of questions of FLAN and BIG-Bench Hard.

    Options:            Options:          OPTIONS:
    (A) one             - yes             - (A) one
    (B) two             - no              - (B) two
    -> (A), (B)         -> yes, no        -> (A), (B)

The block is read from the row itself, since the number of options differs from row to row, even inside one task. It is
written in the same form if a source shows options that are in a field of their own.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterable, Iterator
from typing import Literal

from orcac.sample.formats.item import Item
from orcac.tables.rows import BadRow

_HEAD_END = re.compile(r":[ \t]*\n")
_HEAD = re.compile(r"^.*\boptions:[ \t]*\n", re.IGNORECASE | re.MULTILINE)
_LETTER = re.compile(r"(?:- )?(\([A-Z]\))")


def find_options(query: str) -> tuple[str, ...]:
    """Return the options of the last block in `query`, letters in brackets or words; () if it lists no options."""
    if "\n" not in query or not _HEAD_END.search(query):  # most queries; the pattern of a whole line is slow
        return ()
    heads = list(_HEAD.finditer(query))
    if not heads:
        return ()
    found: list[str] = []
    for line in query[heads[-1].end() :].split("\n"):
        if letter := _LETTER.match(line):
            found.append(letter[1])
        elif line.startswith("- "):
            found.append(line[2:].strip())
        else:
            break
    return tuple(found)


def show_options(items: Iterable[Item | BadRow], how: Literal["words", "letters"]) -> Iterator[Item | BadRow]:
    """Yield the items with their options in the query, named by their words or by letters in brackets."""
    for item in items:
        if isinstance(item, BadRow) or not item.options:
            yield item
        elif how == "words":
            query = "\n".join([item.query, "Options:", *(f"- {option}" for option in item.options)])
            yield dataclasses.replace(item, query=query)
        elif len(item.options) > len(string.ascii_uppercase):
            yield BadRow(item.place, f"{len(item.options)} options, which is more than there are letters", item.query)
        else:
            letters = tuple(f"({letter})" for letter in string.ascii_uppercase[: len(item.options)])
            by_text = dict(zip(item.options, letters, strict=True))
            yield dataclasses.replace(
                item,
                query="\n".join([item.query, "Options:", *map(" ".join, zip(letters, item.options, strict=True))]),
                options=letters,
                reference=by_text.get(item.reference, item.reference),
                references=tuple(by_text.get(reference, reference) for reference in item.references),
            )
