"""The one table of file formats. A new format is one module with a `read` (see `item`) and a line in each part."""

from __future__ import annotations

from pathlib import Path

from orcac.sample.formats import agieval, bbh, files, flan_cot, jsonl, natural_instructions, parquet
from orcac.sample.formats.item import Item, Reader
from orcac.sample.recipe import Source

__all__ = ["FORMATS", "SUFFIXES", "Item", "Reader", "count"]

FORMATS: dict[str, Reader] = {
    "flan-cot": flan_cot.read,
    "natural-instructions": natural_instructions.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "bbh": bbh.read,
    "agieval": agieval.read,
}

SUFFIXES = {  # how the names of its files end, by which they are found in a folder
    "flan-cot": ".tsv",
    "natural-instructions": ".json",
    "jsonl": ".jsonl",
    "parquet": ".parquet",
    "bbh": ".json",
    "agieval": ".jsonl",
}


def count(path: Path, source: Source) -> int:
    """How many items a file holds; where lines or metadata tell, none is read. Raises InputError as its reader does."""
    match source.format:
        case "jsonl" | "agieval" | "flan-cot":
            return files.count(path)
        case "parquet":
            return parquet.count(path)
    return sum(1 for _ in FORMATS[source.format](path, path.name, source))
