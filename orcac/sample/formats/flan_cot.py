"""FLAN's chain-of-thought sets: TSV of question, answer, rationale, without a header, e.g. `gsm8k_train.tsv`.

It is not CSV: quote marks are text (hundreds of creak's lines begin with one), and the only escape is the two
characters `\\n`, since other backslashes are LaTeX. The human rationale is not read: the teacher writes explanations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.item import Item
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source
from orcac.tables.content import strip_compression
from orcac.tables.text import BadRow, read_lines


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items; the task is the file's stem without `_train`. A row without 3 columns is bad."""
    task = Path(strip_compression(name)).stem.removesuffix("_train")
    for numbered in read_lines(path, ends_whole=True):
        if isinstance(numbered, BadRow):
            yield numbered
            continue
        number, line = numbered
        columns = line.split("\t")
        if len(columns) != 3 or not all(column.strip() for column in columns):
            problem = f"a row is question, answer and rationale, none empty; this one has {len(columns)} columns"
            yield BadRow(number, problem, line)
            continue
        query, reference = (text.replace("\\n", "\n").strip() for text in columns[:2])
        yield Item(task=task, query=query, reference=reference, options=find_options(query), place=number)
