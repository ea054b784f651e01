"""The one table of file formats. A new format is one module with a `read` (see `item`) and a line in each part."""

from __future__ import annotations

from orcac.sample.formats import agieval, bbh, flan_cot, jsonl, natural_instructions, parquet
from orcac.sample.formats.item import Item, Reader

__all__ = ["FORMATS", "SUFFIXES", "Item", "Reader"]

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
