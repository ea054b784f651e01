"""Version 1: the rules by which the first evaluations and filters read and compared answers.

Finished artifacts hold their results, so these rules never change: a correction goes to the checkers beside this
folder. `extract.py` finds the answer under one of two parsers; one module per kind of answer compares it.
"""

from __future__ import annotations

from orcac.checkers.version1.extract import Parser, final_answer
from orcac.checkers.version1.number import is_number, same_number
from orcac.checkers.version1.text import same_text

__all__ = ["Parser", "final_answer", "same_answer"]


def same_answer(parsed: str, reference: str) -> bool:
    """Return whether an answer agrees with the reference: as a number if the reference is one, else as text.

    "" agrees with nothing.
    """
    if not parsed or not reference:
        return False
    return same_number(parsed, reference) if is_number(reference) else same_text(parsed, reference)
