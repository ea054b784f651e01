"""TruthfulQA's multiple choice: `mc_task.json`, or `TruthfulQA.csv`, which holds the same choices.

    mc1   one right choice among 2 to 13; the score is accuracy
    mc2   several true choices among 2 to 24; the score is the probability of the true ones

The files list the right choice first, always, so the choices are shuffled before they get letters: in the order of a
digest of the seed, the question and the choice, which depends on no other question. Outer spaces are stripped, and
empty and repeated choices are left out (17 questions of the revision of 2025 have an empty one). Two questions of the
table list "Unknown" as true and as false; it is false, as in the document.

If a model answers in words, the query is the question and the lettered choices. If choices are scored by their
likelihood, it is the question alone, and each choice's text continues it.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

from orcac.sample.draw import ticket
from orcac.sample.formats.item import Item
from orcac.sample.recipe import Source, TruthfulQA
from orcac.tables.content import strip_compression
from orcac.tables.delimited import read_delimited
from orcac.tables.text import BadRow, read_document, row_error

_FIX = "use mc_task.json or TruthfulQA.csv of the TruthfulQA repository"
_LISTS = {"mc1": ("Best Answer", "Incorrect Answers"), "mc2": ("Correct Answers", "Incorrect Answers")}


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items, whose task is `mc1` or `mc2`. Raises InputError for a file of another form."""
    form = source.truthfulqa
    assert form is not None
    rows = _table_rows if strip_compression(name).endswith(".csv") else _document_rows
    for row in rows(path, form.task):
        if isinstance(row, BadRow):
            yield row
            continue
        number, question, true, false = row
        if len(true) + len(false) > len(string.ascii_uppercase):
            yield BadRow(number, "more choices than letters", question)
            continue
        if not question or not true or not false or set(true) & set(false) or (form.task == "mc1" and len(true) > 1):
            yield BadRow(number, f"not a question of {form.task} with true and false choices", question)
            continue
        yield _item(question, true, false, form, as_choices=source.items == "choices", place=number)


def _item(question: str, true: list[str], false: list[str], form: TruthfulQA, *, as_choices: bool, place: int) -> Item:
    choices = sorted((*true, *false), key=lambda choice: ticket(form.seed, "choice", question, choice))
    right = [index for index, choice in enumerate(choices) if choice in true]
    if as_choices:
        options, query = choices, question
    else:
        options = [f"({letter})" for letter in string.ascii_uppercase[: len(choices)]]
        query = "\n".join([question, *map(" ".join, zip(options, choices, strict=True))])
    return Item(
        task=form.task,
        query=query,
        reference=options[right[0]],
        options=tuple(options),
        choices=tuple(choices),
        right=tuple(right),
        place=place,
    )


Row = tuple[int, str, list[str], list[str]]  # its number, the question, the true and the false choices


def _document_rows(path: Path, task: str) -> Iterator[Row | BadRow]:
    whole = read_document(path)
    if not isinstance(whole, list):
        raise row_error(path, 1, "not a list of questions", fix=_FIX)
    for number, record in enumerate(whole, start=1):
        match record:
            case {"question": str(question)} if isinstance(targets := record.get(f"{task}_targets"), dict):
                true, false = (_clean([text for text, one in targets.items() if one == label]) for label in (1, 0))
                yield number, question.strip(), true, false
            case _:
                yield BadRow(number, f"not {{question, {task}_targets: {{choice: 0 or 1}}}}", str(record))


def _table_rows(path: Path, task: str) -> Iterator[Row | BadRow]:
    columns = ("Question", *_LISTS[task])
    for numbered in read_delimited(path, ",", columns):
        if isinstance(numbered, BadRow):
            yield numbered
            continue
        number, row = numbered
        if missing := [column for column in columns if column not in row]:
            problem = f"no column {', '.join(missing)}; the columns are {', '.join(row)}"
            raise row_error(path, 1, problem, fix=_FIX)
        question, true, false = (str(row[column] or "").strip() for column in columns)
        wrong = _clean(false.split(";"))
        answers = _clean([true] if task == "mc1" else true.split(";"))
        yield number, question, [one for one in answers if one not in wrong], wrong


def _clean(texts: list[str]) -> list[str]:
    return [text for text in dict.fromkeys(text.strip() for text in texts) if text]
