"""FLAN's chain-of-thought sets: TSV of question, answer, rationale, without a header, e.g. `gsm8k_train.tsv`.

It is not CSV: quote marks are text (hundreds of creak's lines begin with one), and the only escape is the two
characters `\\n`, since other backslashes are LaTeX. The human rationale is not read: the teacher writes explanations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.files import read_lines, row_error
from orcac.sample.formats.item import Item
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source


def read(path: Path, name: str, source: Source) -> Iterator[Item]:
    """Yield the items; the task is the file's stem without `_train`. Raises InputError for a row without 3 columns."""
    task = Path(name).stem.removesuffix("_train")
    for number, line in read_lines(path, ends_whole=True):
        columns = line.split("\t")
        if len(columns) != 3 or not all(column.strip() for column in columns):
            raise row_error(
                path,
                number,
                f"a row is question, answer and rationale, none empty; this one has {len(columns)} columns",
                fix="separate three texts by two tabs, and write a line break inside a text as \\n",
            )
        query, reference = (text.replace("\\n", "\n").strip() for text in columns[:2])
        yield Item(task=task, query=query, reference=reference, options=find_options(query), place=number)
