"""The size of a model by its config.json, checked before a library builds the model.

A library builds one object after another for each layer, also without weights, so a config.json of 100 bytes could take
all memory. The limits are ten times those of any published model.
"""

from __future__ import annotations

import json
from pathlib import Path

from orcac.errors import InputError

__all__ = ["check_size"]

_LARGEST_CONFIG = 16 * 2**20  # bytes
_LIMITS = {  # parts of the names of fields -> the largest value
    "layer": 2_000,
    "block": 2_000_000,  # also sizes, such as block_size
    "expert": 10_000,
    "head": 100_000,
    "vocab": 10_000_000,
    "size": 100_000_000,
    "dim": 100_000_000,
}


def check_size(folder: Path, subject: str) -> None:
    """Raise InputError, which begins with `subject`, if the model's config.json names an impossible size.

    A missing or unreadable config.json passes: loading it raises an error of its own.
    """
    path = folder / "config.json"
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise InputError(f"{subject} has a config.json of more than {_LARGEST_CONFIG >> 20} MiB", fix=_FIX)
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    left = [values]
    while left:
        value = left.pop()
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for name, number in value.items() if isinstance(value, dict) else ():
            largest = min((limit for part, limit in _LIMITS.items() if part in name), default=None)
            if largest is not None and isinstance(number, int | float) and number > largest:
                raise InputError(
                    f"{subject} has an impossible config.json: `{name}` is {number:,}, and at most {largest:,} is "
                    "accepted",
                    fix=_FIX,
                )


_FIX = "give a model whose config.json fits its weights"
