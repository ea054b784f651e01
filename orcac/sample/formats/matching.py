"""References as the options that they name, so that `filter` and `score` compare texts that are equal if they agree.

A file may give its right answer as an option's text, as its label ("B", "Sentence B") or as its number. Each becomes
the option's own text (`checkers.find_option`). Options of a query's list that have names become these names.

A number that is an option's text is that option, unless the file numbers its options: then more of its numbers name no
text than do. Such a file counts from 0 if it has a 0, and from 1 if it has the number of an item's options. If it has
both, the more frequent one decides; if it has neither, it counts from 0 as most files do. In both cases `sample` prints
a line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator

from orcac import checkers
from orcac.sample.formats.item import Item
from orcac.tables.rows import BadRow

__all__ = ["match_references"]

_NUMBER = re.compile(r"[0-9]{1,3}(?:\.0)?")  # data frames write a column of whole numbers with gaps as 1.0, 2.0


def match_references(
    items: Callable[[], Iterable[Item | BadRow]], *, are_listed: bool, report: Callable[[str], None] = lambda text: None
) -> Iterator[Item | BadRow]:
    """Yield the items of one file, each reference that names an option as that option's text.

    items: yields the file's items, each time from the start
    are_listed: whether the options were read from a list in the query, where the text of an option with a name is
    report: gets a sentence if the file does not show where its numbers count from
    """
    first: int | None = None  # the number of the first option; None if the file does not number its options
    is_known = False
    for item in items():
        if isinstance(item, BadRow) or not item.options:
            yield item
            continue
        if not is_known and any(map(_is_number, _references(item))):
            first, is_known = _find_first(items(), report), True
        options = checkers.name_options(item.options) if are_listed else item.options
        offered = checkers.Item(item.options, query=item.query)
        found = [(reference, _find(reference, offered, first)) for reference in _references(item)]
        references = [reference if place is None else options[place] for reference, place in found]
        yield dataclasses.replace(
            item,
            options=options,
            reference=references[0] if references else "",
            references=tuple(dict.fromkeys(references)) if item.references else (),
        )


def _references(item: Item) -> tuple[str, ...]:
    return item.references or ((item.reference,) if item.reference else ())


def _find(reference: str, item: checkers.Item, first: int | None) -> int | None:
    """Return the place of the option that a reference names; None if it names none."""
    if first is not None and _is_number(reference):
        place = _number(reference) - first
        return place if 0 <= place < len(item.options) else None
    return checkers.find_option(reference, item)


def _find_first(items: Iterable[Item | BadRow], report: Callable[[str], None]) -> int | None:
    """Return the number of a file's first options; None if the file does not number them."""
    texts = numbers = zeros = lasts = 0
    for item in items:
        if isinstance(item, BadRow) or not item.options:
            continue
        for reference in filter(_is_number, _references(item)):
            texts += reference in item.options
            numbers += reference not in item.options and _number(reference) <= len(item.options)
            zeros += _number(reference) == 0
            lasts += _number(reference) == len(item.options)
    if numbers <= texts:
        return None
    first = int(lasts > zeros)
    if bool(zeros) == bool(lasts):
        report(f"the references are numbers of options that may count from 0 or from 1; they are counted from {first}")
    return first


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _number(text: str) -> int:
    return int(text.partition(".")[0])
