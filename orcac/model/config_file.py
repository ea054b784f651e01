"""The limits that a model's config.json states, read without transformers.

A config.json may leave values at their default out, so it shows a limit only if it has it. `positions` reads the whole
configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["POSITIONS", "first_size", "read_positions"]

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")  # names of the number of positions


def read_positions(values: Mapping[str, object]) -> int | None:
    """Return the number of positions that the content of a config.json states; None if it states none."""
    text = values.get("text_config", values)
    return first_size(text.get(name) for name in POSITIONS) if isinstance(text, Mapping) else None


def first_size(values: Iterable[object]) -> int | None:
    """Return the first whole number above 0 among `values`, or None."""
    return next((value for value in values if isinstance(value, int) and value > 0), None)
