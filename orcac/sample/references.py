"""The references of items: those that no answer could satisfy are found, and named with their places in the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orcac.checkers import CHECKERS, Item, reference_fault
from orcac.progress import print_line
from orcac.rows import BenchmarkItem, Prompt
from orcac.sample import formats

__all__ = ["NAMED", "Files", "find_fault", "find_places", "list_asked", "name_items"]

NAMED = 5  # items of one fault that a message names

Files = Sequence[
    tuple[str, Callable[[], Iterable[formats.Item | formats.BadRow]]]
]  # each file's path, and a function that reads it


def list_asked(item: Prompt) -> list[Item]:
    """Return the item as checkers take it, once for each right answer."""
    references = item.references if isinstance(item, BenchmarkItem) else []
    return [Item(tuple(item.options), reference, item.query) for reference in references or [item.reference]]


def find_fault(item: Prompt, checker: str) -> str:
    """Return the reason for which a checker would accept no answer to an item; "" if it would accept one."""
    faults = [reference_fault(asked, CHECKERS[checker]) for asked in list_asked(item)]
    return faults[0] if all(faults) else ""


def find_places(files: Files, prompts: Sequence[Prompt]) -> dict[tuple[str, str], str]:
    """Return (task, query) -> the place of the item in the files, as "FILE:LINE". The files are read again."""
    wanted = {(prompt.task, prompt.query) for prompt in prompts}
    places: dict[tuple[str, str], str] = {}
    for name, read in files if wanted else ():
        for item in read():
            if isinstance(item, formats.BadRow):
                continue
            if (key := (item.task, item.query)) in wanted:
                places.setdefault(key, f"{name}:{item.place}")
        if len(places) == len(wanted):
            break
    return places


def name_items(
    label: str, count: int, problem: str, examples: Sequence[Prompt], *, fix: str, files: Files = ()
) -> None:
    """Print the number of items with a problem, the first of them with their places, and the fix."""
    if count:
        examples = examples[:NAMED]
        places = find_places(files, examples)
        named = (
            f"{places.get((item.task, item.query), item.task)}: {item.query[-80:]!r}, reference {item.reference[:80]!r}"
            for item in examples
        )
        print_line("\n    ".join([f"{label}  {count:,} {problem}", *named, f"fix: {fix}"]))
