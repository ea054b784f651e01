"""The finished artifacts that hold given answers of the ledger.

An artifact has no keys: they are made again from its texts. It holds an answer if that record settles one of its
questions, so that the question would be open without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from orcac import rows
from orcac.chat.ledger.forgotten import Forgotten, RecordId
from orcac.chat.ledger.keys import isin, pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.questions import Questions
from orcac.collect.recipe import CollectRecipe
from orcac.errors import StoreError
from orcac.store.store import Store

__all__ = ["find_holders"]


def find_holders(store: Store, records: Collection[RecordId]) -> list[str]:
    """Return the finished collect nodes (KIND/ID) with an answer from one of the records.

    Raises StoreError if an artifact is damaged.
    """
    wanted = pack_keys(record.key for record in records)
    before = Ledger(store.answers, wanted)
    after = Ledger(store.answers, wanted, forgotten=Forgotten(store.answers, more=records))

    def is_held(questions: Questions) -> bool:
        keys = questions.keys.keys
        asked = keys[isin(keys, wanted)]
        first, second = (ledger.find(asked, questions.max_tokens) for ledger in (before, after))
        if np.any((first >= 0) & (second < 0)):
            return True
        both = first >= 0
        return bool(np.any(before.entries[first[both]] != after.entries[second[both]]))

    try:
        return [ref for ref, questions in _find_asked(store) if is_held(questions)]
    finally:
        before.close()
        after.close()


def _find_asked(store: Store) -> Iterator[tuple[str, Questions]]:
    """Yield each finished collect node whose answers are in the ledger, with its questions."""
    for ref in store.refs():
        if not ref.startswith("collect/") or not store.has_record(ref):
            continue
        try:
            recipe = CollectRecipe.model_validate(store.artifact(ref)["recipe"])
        except (ValidationError, KeyError) as error:
            raise StoreError(
                f"{ref}: its recipe cannot be read ({type(error).__name__})", fix="`orcac verify` shows its damage"
            ) from error
        path = store.folder(ref) / "responses.parquet"
        if recipe.origin not in ("replay", "reference"):
            yield ref, Questions(recipe.template, partial(_read_texts, path), system_role=recipe.system_role)


def _read_texts(path: Path) -> Iterator[tuple[str, str]]:
    yield from rows.read_columns(path, ["system", "query"])
