"""File formats: readers of queries, one module per format, and the table of them.

A new format is a module with a `read` (see `item.py`) and a line in each table below. A reader yields every row of its
file; it may not choose among rows, which is the work of `sample.run`, where dropped rows are counted. Tables of any
shape share one reader, `mapped`; `orcac.tables` reads their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.sample.formats import agieval, bbh, flan_cot, mapped, natural_instructions, truthfulqa
from orcac.sample.formats.item import Item, Reader, Texts
from orcac.sample.formats.matching import match_references
from orcac.sample.formats.options import show_options
from orcac.sample.recipe import Source
from orcac.tables.rows import BadRow, count_rows
from orcac.tables.text import count_lines

if TYPE_CHECKING:
    from orcac.tables.batches import Mask

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "TABLES",
    "BadRow",
    "Item",
    "Reader",
    "Texts",
    "count_items",
    "read_items",
    "read_texts",
]

TABLES = ("jsonl", "json", "csv", "tsv", "parquet")

FORMATS: dict[str, Reader] = {
    **dict.fromkeys(TABLES, mapped.read),
    "flan-cot": flan_cot.read,
    "natural-instructions": natural_instructions.read,
    "bbh": bbh.read,
    "agieval": agieval.read,
    "truthfulqa": truthfulqa.read,
}

SUFFIXES = {  # the ends of the names of its files, by which they are found in a folder
    **{name: f".{name}" for name in TABLES},
    "flan-cot": ".tsv",
    "natural-instructions": ".json",
    "bbh": ".json",
    "agieval": ".jsonl",
    "truthfulqa": ".json",
}


def read_items(
    path: Path, name: str, source: Source, *, matches: bool = False, report: Callable[[str], None] = lambda text: None
) -> Iterator[Item | BadRow]:
    """Yield the items of a file as they are put to a model. Raises InputError if the file's reader does.

    If `matches`, references become the options that they name, and `report` gets the sentences of `match_references`.
    """
    read = partial(FORMATS[source.format], path, name, source)
    items = match_references(read, are_listed="options" not in source.fields, report=report) if matches else read()
    return show_options(items, source.show_options) if source.show_options else items


def read_texts(
    path: Path, name: str, source: Source, mask: Mask | None = None, *, whole: bool = True
) -> Iterator[Texts | Item | BadRow] | None:
    """Return the items of a table of texts, some of them as columns (`mapped.read_texts`).

    Return None if the file has another form, or if the source changes its items after they are read.
    """
    is_table = source.format in TABLES and not source.show_options and source.items is None
    return mapped.read_texts(path, name, source, mask, whole=whole) if is_table else None


def count_items(path: Path, source: Source) -> int:
    """Return the number of items in a file, from its lines or metadata if the format allows it, else by reading it.

    Raises InputError if its reader does.
    """
    if source.format in TABLES:
        return count_rows(path, source.format, mapped.list_source_keys(source))
    if source.format in ("agieval", "flan-cot"):
        return count_lines(path)
    return sum(1 for _ in FORMATS[source.format](path, path.name, source))
