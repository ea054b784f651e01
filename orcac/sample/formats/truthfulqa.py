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

import csv
import string
from collections.abc import Iterator
from pathlib import Path

from orcac.sample.draw import ticket
from orcac.sample.formats.files import read_document, read_lines, row_error
from orcac.sample.formats.item import Item
from orcac.sample.recipe import Source, TruthfulQA

_FIX = "use mc_task.json or TruthfulQA.csv of the TruthfulQA repository"
_LISTS = {"mc1": ("Best Answer", "Incorrect Answers"), "mc2": ("Correct Answers", "Incorrect Answers")}


def read(path: Path, name: str, source: Source) -> Iterator[Item]:
    """Yield the items, whose task is `mc1` or `mc2`. Raises InputError for a file or a question of another form."""
    form = source.truthfulqa
    assert form is not None
    rows = _table_rows if name.endswith(".csv") else _document_rows
    for place, question, true, false in rows(path, form.task):
        if len(true) + len(false) > len(string.ascii_uppercase):
            raise row_error(path, place, "more choices than letters", fix=_FIX)
        if not question or not true or not false or set(true) & set(false) or (form.task == "mc1" and len(true) > 1):
            raise row_error(path, place, f"not a question of {form.task} with true and false choices", fix=_FIX)
        yield _item(question, true, false, form, as_choices=source.items == "choices", place=place)


def _item(
    question: str, true: list[str], false: list[str], form: TruthfulQA, *, as_choices: bool, place: int | str
) -> Item:
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


Row = tuple[int | str, str, list[str], list[str]]  # its place, the question, the true and the false choices


def _document_rows(path: Path, task: str) -> Iterator[Row]:
    whole = read_document(path)
    if not isinstance(whole, list):
        raise row_error(path, 1, "not a list of questions", fix=_FIX)
    for index, record in enumerate(whole):
        match record:
            case {"question": str(question)} if isinstance(targets := record.get(f"{task}_targets"), dict):
                true, false = (_clean([text for text, one in targets.items() if one == label]) for label in (1, 0))
                yield f"[{index}]", question.strip(), true, false
            case _:
                raise row_error(path, f"[{index}]", f"not {{question, {task}_targets: {{choice: 0 or 1}}}}", fix=_FIX)


def _table_rows(path: Path, task: str) -> Iterator[Row]:
    numbered = read_lines(path)
    number = 1  # of the last line that the row at hand has

    def read_line() -> str:
        nonlocal number
        number, line = next(numbered, (number, ""))
        return f"{line}\n" if line else ""

    reader = csv.DictReader(iter(read_line, ""), strict=True)
    columns = ("Question", *_LISTS[task])
    try:
        for row in reader:
            if None in row or None in row.values() or not all(map(row.get, columns)):
                problem = f"not a row of the columns {', '.join(reader.fieldnames or ())} with {', '.join(columns)}"
                raise row_error(path, number, problem, fix=_FIX)
            question, true, false = (row[column].strip() for column in columns)
            wrong = _clean(false.split(";"))
            answers = _clean([true] if task == "mc1" else true.split(";"))
            yield number, question, [one for one in answers if one not in wrong], wrong
    except csv.Error as error:
        raise row_error(path, number, f"not CSV: {error}", fix="mend or download the file again") from error


def _clean(texts: list[str]) -> list[str]:
    return [text for text in dict.fromkeys(text.strip() for text in texts) if text]
