"""The finished artifacts that hold given answers of the ledger.

A collect node has no keys: they are made again from its texts. Scores and ratings of a judge have the key of each
review. A node holds an answer if that record settles one of its questions, so that the question would be open without
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from orcac import rows
from orcac.chat.ledger.forgotten import Forgotten, RecordId
from orcac.chat.ledger.keys import Keys, isin, pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.questions import Questions
from orcac.collect.recipe import CollectRecipe
from orcac.errors import StoreError
from orcac.store.store import Store

__all__ = ["Asked", "find_holders", "list_asked"]


def find_holders(store: Store, records: Collection[RecordId]) -> list[str]:
    """Return the finished nodes (KIND/ID), of collect and of judges, with an answer from one of the records.

    Raises StoreError if an artifact is damaged.
    """
    wanted = pack_keys(record.key for record in records)
    before = Ledger(store.answers, wanted)
    after = Ledger(store.answers, wanted, forgotten=Forgotten(store.answers, more=records))

    def is_held(asked: Asked) -> bool:
        keys = asked.keys[isin(asked.keys, wanted)]
        first, second = (ledger.find(keys, asked.max_tokens) for ledger in (before, after))
        if np.any((first >= 0) & (second < 0)):
            return True
        both = first >= 0
        return bool(np.any(before.entries[first[both]] != after.entries[second[both]]))

    try:
        return [asked.ref for asked in list_asked(store, store.refs()) if is_held(asked)]
    finally:
        before.close()
        after.close()


class Asked(NamedTuple):
    """The distinct keys of the questions of a finished node, sorted."""

    ref: str
    keys: Keys
    max_tokens: int


def list_asked(store: Store, refs: Iterable[str]) -> Iterator[Asked]:
    """Yield those of some nodes (KIND/ID) that are finished and whose answers are in the ledger.

    Raises StoreError if an artifact is damaged.
    """
    for ref in refs:
        if not ref.startswith(("collect/", "score/", "rate/")) or not store.has_record(ref):
            continue
        try:
            recipe = store.artifact(ref)["recipe"]
            is_judge = not ref.startswith("collect/")
            if is_judge and not recipe.get("judge"):
                continue
            asked = CollectRecipe.model_validate(recipe["judge"]["asked"] if is_judge else recipe)
        except (ValidationError, KeyError) as error:
            raise StoreError(
                f"{ref}: its recipe cannot be read ({type(error).__name__})", fix="`orcac verify` shows its damage"
            ) from error
        if asked.origin in ("replay", "reference"):
            continue
        if is_judge:
            column = rows.read_columns(store.find_folder(ref) / "reviews.parquet", ["key"])
            keys = pack_keys(key for (key,) in column)
        else:
            texts = partial(_read_texts, store.find_folder(ref) / "responses.parquet", asked.samples)
            questions = Questions(asked.template, texts, system_role=asked.system_role, samples=asked.samples)
            keys = questions.keys.keys
        yield Asked(ref, keys, asked.sampling.max_tokens)


def _read_texts(path: Path, samples: int) -> Iterator[tuple[str, str]]:
    """Yield the (system, query) pair of each prompt, whose samples follow one another."""
    yield from islice(rows.read_columns(path, ["system", "query"]), 0, None, samples)
