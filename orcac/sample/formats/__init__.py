"""File formats: readers of queries, one module per format, and the table of them.

A new format is a module with a `read` (see `item.py`) and a line in each table below. A reader yields every row of its
file; it may not choose among rows, which is the work of `sample.run`, where dropped rows are counted.
"""

from __future__ import annotations

from pathlib import Path

from orcac.sample.formats import agieval, bbh, files, flan_cot, jsonl, natural_instructions, parquet, truthfulqa
from orcac.sample.formats.item import Item, Reader
from orcac.sample.recipe import Source

__all__ = ["FORMATS", "SUFFIXES", "Item", "Reader", "count_items"]

FORMATS: dict[str, Reader] = {
    "flan-cot": flan_cot.read,
    "natural-instructions": natural_instructions.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "bbh": bbh.read,
    "agieval": agieval.read,
    "truthfulqa": truthfulqa.read,
}

SUFFIXES = {  # the ends of the names of its files, by which they are found in a folder
    "flan-cot": ".tsv",
    "natural-instructions": ".json",
    "jsonl": ".jsonl",
    "parquet": ".parquet",
    "bbh": ".json",
    "agieval": ".jsonl",
    "truthfulqa": ".json",
}


def count_items(path: Path, source: Source) -> int:
    """Return the number of items in a file, from its lines or metadata if the format allows it, else by reading it.

    Raises InputError if its reader does.
    """
    match source.format:
        case "jsonl" | "agieval" | "flan-cot":
            return files.count_lines(path)
        case "parquet":
            return parquet.count_rows(path)
    return sum(1 for _ in FORMATS[source.format](path, path.name, source))
