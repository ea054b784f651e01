"""BIG-Bench Hard: one JSON file per task, `{"examples": [{"input", "target"}]}`. The query is the unchanged input.

Most tasks list their options in the row, by letter or by word; three have yes/no questions without a list; the other
four (object_counting, multistep_arithmetic_two, dyck_languages, word_sorting) are free-form. In three rows the
published target is not one of the options (a title was cut at its commas); they are read unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.item import Item
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source
from orcac.tables.content import strip_compression
from orcac.tables.text import BadRow, read_document, row_error

UNLISTED = {  # the answers that a task allows without listing them, in the targets' own spelling
    "boolean_expressions": ("True", "False"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items; the task is the file's stem. Raises InputError for a file of another form."""
    task, whole = Path(strip_compression(name)).stem, read_document(path)
    fix = 'use a task file of the BIG-Bench-Hard repository: {"examples": [{"input": text, "target": text}]}'
    if not isinstance(whole, dict) or not isinstance(whole.get("examples"), list):
        raise row_error(path, 1, "no list of examples", fix=fix)
    for number, example in enumerate(whole["examples"], start=1):
        match example:
            case {"input": str(text), "target": str(target)} if text.strip():
                query = text.strip()
                options = find_options(query) or UNLISTED.get(task, ())
                yield Item(task=task, query=query, reference=target.strip(), options=options, place=number)
            case _:
                yield BadRow(number, "not {input: text, target: text}", str(example))
