"""The one table of file formats. A new format is one module with a `read` (see `item`) and one line here."""

from __future__ import annotations

from orcac.sample.formats import agieval, bbh, flan_cot, jsonl, natural_instructions
from orcac.sample.formats.item import Item, Reader

__all__ = ["FORMATS", "Item", "Reader"]

FORMATS: dict[str, Reader] = {
    "flan-cot": flan_cot.read,
    "natural-instructions": natural_instructions.read,
    "jsonl": jsonl.read,
    "bbh": bbh.read,
    "agieval": agieval.read,
}
