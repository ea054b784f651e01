"""A closed ledger, whose store asks no model: a question that it does not answer ends its job before it is sent.

The folder of the ledger has `closed.json`, which names the archive that its answers are from. The file belongs to the
store, so that it binds every job of the store, also on another machine.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from orcac.errors import StoreError
from orcac.store.durable import write_if_changed
from orcac.store.links import is_plain

__all__ = ["close", "read_closed"]

_MARK = "closed.json"


def close(answers: Path, archive: str) -> None:
    """Close the ledger in a folder; `archive` names where its answers are from. Raises OSError."""
    write_if_changed(answers / _MARK, json.dumps({"archive": archive}) + "\n")


def read_closed(answers: Path) -> str | None:
    """Return the name of the archive of a closed ledger; None if the ledger is open. Raises StoreError for damage."""
    path = answers / _MARK
    if not os.path.lexists(path):
        return None
    try:
        if not is_plain(path):
            raise ValueError("not a plain file")
        return str(json.loads(path.read_text(encoding="utf-8"))["archive"])
    except (ValueError, LookupError, TypeError) as error:
        fix = f"delete the store {answers.parent}, and replay the archive again"
        raise StoreError(f"{path}: is damaged ({error})", fix=fix) from None
