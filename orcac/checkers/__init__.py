"""Checkers: the final answer in a model's prose, and whether it agrees with a reference.

`extract.py` finds the answer; one module per kind of answer compares it: `option.py`, `number.py` and `text.py`. Filter
and eval read and compare answers with the same two functions, so that an answer means the same to both.

A checker reads strings. It may import no kind, no model and no store, and it may ask no model.
"""

from __future__ import annotations

from orcac.checkers.extract import Parser, final_answer
from orcac.checkers.number import is_number, same_number
from orcac.checkers.text import same_text

__all__ = ["Parser", "final_answer", "same_answer"]


def same_answer(parsed: str, reference: str) -> bool:
    """Return whether an answer agrees with the reference: as a number if the reference is one, else as text.

    "" agrees with nothing.
    """
    if not parsed or not reference:
        return False
    return same_number(parsed, reference) if is_number(reference) else same_text(parsed, reference)
