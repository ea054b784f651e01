"""Any JSON Lines file, by a map from our names to its keys (see `mapped`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.files import read_records
from orcac.sample.formats.item import Item
from orcac.sample.formats.mapped import items
from orcac.sample.recipe import Source


def read(path: Path, name: str, source: Source) -> Iterator[Item]:
    """Yield the items. Raises InputError for a line that is not a JSON object, and as `mapped.items` does."""
    return items(read_records(path), path, name, source.fields)
