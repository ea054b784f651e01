"""The items of a page as data that its script reads: inside the page, or in files beside it.

The index has a short entry for each item. The texts are in chunks of some hundred kilobytes; the script reads a chunk
when one of its items is looked at. A page that stands alone holds as many items as fit into `INLINE` bytes, first those
on which the rows disagree. A folder holds all: the page and a folder of texts, whose files are scripts, since a browser
that opens a page from the disk may load scripts and nothing else.

All texts are of unknown origin. They are data within a script, in which no character ends the script or begins a tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from orcac.report.items import Collection, Item

__all__ = ["INLINE", "index_script", "inline_scripts", "write_texts"]

INLINE = 3_000_000  # bytes of texts in a page that stands alone
CHUNK = 400_000  # bytes
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def encode(value: object) -> str:
    """Return a value as JSON that may stand in a script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def inline_scripts(collections: Sequence[Collection], rows: Sequence[str], budget: int = INLINE) -> Markup:
    """Return the scripts with the index and the texts of as many items as the budget of bytes allows."""
    shares = _share_budget([one.size for one in collections], budget)
    chosen = [_choose(one, share) for one, share in zip(collections, shares, strict=True)]
    parts = [index_script(collections, rows, chosen)]
    for number, (collection, places) in enumerate(zip(collections, chosen, strict=True)):
        for chunk, texts in enumerate(_chunks(collection, places)):
            parts.append(_script(f"texts-{number}-{chunk}", texts))
    return Markup("\n").join(parts)


def write_texts(texts: Path, collections: Sequence[Collection]) -> None:
    """Write the texts of all items into the new folder `texts`."""
    texts.mkdir()
    for number, collection in enumerate(collections):
        for chunk, found in enumerate(_chunks(collection, range(len(collection.items)))):
            content = f"orcacTexts({number},{chunk},{encode(found)})\n"
            (texts / f"{number}-{chunk}.js").write_text(content, encoding="utf-8", errors="replace")


def index_script(
    collections: Sequence[Collection], rows: Sequence[str], chosen: Sequence[Sequence[int]] | None = None
) -> Markup:
    """Return the script with the index. rows: the names of all rows of the report, by their numbers on the page."""
    places = {name: number for number, name in enumerate(rows)}
    index = []
    for number, collection in enumerate(collections):
        which = chosen[number] if chosen is not None else range(len(collection.items))
        items = [collection.items[place] for place in which]
        index.append(
            {
                "name": collection.name,
                "kind": collection.kind,
                "rows": [[places.get(name, -1), name] for name in collection.rows],
                "tasks": collection.tasks,
                "systems": collection.systems,
                "outcomes": collection.outcomes,
                "total": collection.total,
                "note": collection.note,
                "chunk": _per_chunk(collection),
                "items": [_list_entry(item) for item in items],
            }
        )
    return _script("items-index", index)


def _list_entry(item: Item) -> list[object]:
    entry: list[object] = [item.task, item.outcomes, item.head, item.system]
    if item.scores:
        entry.append([None if score is None else round(score, 3) for score in item.scores])
    return entry


def _script(name: str, value: object) -> Markup:
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(encode(value)))


def _per_chunk(collection: Collection) -> int:
    """Return the number of items whose texts make a chunk."""
    mean = collection.size / max(len(collection.items), 1)
    return max(1, min(500, int(CHUNK / max(mean, 1))))


def _chunks(collection: Collection, places: Sequence[int]) -> Iterator[list[object]]:
    size = _per_chunk(collection)
    for start in range(0, len(places), size):
        yield [collection.read_text(place) for place in places[start : start + size]]


def _share_budget(sizes: Sequence[int], budget: int) -> list[int]:
    """Return the bytes for each collection: small ones get all that they need, and large ones share the rest."""
    shares = [0] * len(sizes)
    rest, waiting = budget, len(sizes)
    for number in sorted(range(len(sizes)), key=lambda number: sizes[number]):
        shares[number] = min(sizes[number], rest // waiting)
        rest, waiting = rest - shares[number], waiting - 1
    return shares


def _choose(collection: Collection, budget: int) -> list[int]:
    """Return the positions of the items that fit, in order: first those on which the rows disagree."""
    every = range(len(collection.items))
    if collection.size <= budget:
        return list(every)
    most = int(len(every) * budget / collection.size)
    first = sorted(every, key=lambda place: not collection.items[place].is_split)
    return sorted(first[:most])
