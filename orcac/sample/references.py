"""The references of a benchmark's items: items that no answer could satisfy are found and named."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from orcac.checkers import CHECKERS, Item, reference_fault
from orcac.rows import BenchmarkItem, Prompt

__all__ = ["NAMED", "find_fault", "list_asked", "name_items"]

NAMED = 5  # items of one fault that a message names


def list_asked(item: Prompt) -> list[Item]:
    """Return the item as checkers take it, once for each right answer."""
    references = item.references if isinstance(item, BenchmarkItem) else []
    return [Item(tuple(item.options), reference, item.query) for reference in references or [item.reference]]


def find_fault(item: Prompt, checker: str) -> str:
    """Return the reason for which a checker would accept no answer to an item; "" if it would accept one."""
    faults = [reference_fault(asked, CHECKERS[checker]) for asked in list_asked(item)]
    return faults[0] if all(faults) else ""


def name_items(label: str, count: int, what: str, examples: Sequence[Prompt]) -> None:
    """Print the number of items that `what` applies to, and the first of them."""
    if count:
        named = (f"{item.task}: {item.query[-80:]!r}, reference {item.reference[:80]!r}" for item in examples[:NAMED])
        print("\n    ".join([f"{label}  {count:,} {what}", *named]), file=sys.stderr, flush=True)
