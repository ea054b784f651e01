"""AGIEval's English multiple-choice sets: JSON Lines of passage, question, options and a label.

The query has the benchmark's zero-shot form, which the paper evaluates with (§4.2.2): the passage if there is one,
question and choices, and a cue that asks for a letter.

An option prints its letter before its text, "(A)text". A few rows of logiqa-en print the letters out of order; their
labels mean the printed letters, so the options stay as printed. A few more rows print broken letters; there the letter
follows from the place in the list, and is printed anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.item import Item
from orcac.sample.recipe import Source
from orcac.tables.content import strip_compression
from orcac.tables.text import BadRow, read_records

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items; the task is the file's stem. A row of another form or with an unknown label is bad."""
    for numbered in read_records(path):
        if isinstance(numbered, BadRow):
            yield numbered
            continue
        number, record = numbered
        passage = record.get("passage") or ""
        match record:
            case {"question": str(question), "options": [_, *_] as options, "label": str(label)} if all(
                isinstance(text, str) for text in (*options, passage)
            ):
                choices = [str(option) for option in options]
                letters = _LETTERS[: len(choices)]
            case _:
                problem = "not {question: text, options: [text, ...], label: letter} of AGIEval v1"
                yield BadRow(number, problem, json.dumps(record, ensure_ascii=False))
                continue
        if len(label) != 1 or label not in letters:
            yield BadRow(number, f"label {label!r} is not one of {letters}", question)
            continue
        cue = f"A: Among A through {letters[-1]}, the answer is"
        lettered = _with_letters(choices)
        query = f"Q: {question.strip()} Answer Choices: {' '.join(lettered)}\n{cue}"
        if introduction := str(passage).strip():
            query = f"{introduction}\n{query}"
        yield Item(
            task=Path(strip_compression(name)).stem,
            query=query,
            reference=f"({label})",
            options=tuple(f"({letter})" for letter in letters),
            choices=tuple(sorted(lettered)),
            place=number,
        )


def _with_letters(choices: list[str]) -> list[str]:
    """Return the choices with their letters: as printed if those are A, B, ... in any order, else by place."""
    letters = _LETTERS[: len(choices)]
    if sorted(choice[:3] for choice in choices) == [f"({letter})" for letter in letters]:
        return choices
    return [
        f"({letter})" + re.sub(rf"^(\({letter}\)|{letter}\?|{letter} )\s*", "", choice)
        for letter, choice in zip(letters, choices, strict=True)
    ]
