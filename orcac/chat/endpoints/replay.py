"""Recorded answers as an endpoint, so that nobody pays twice for what others have published.

A recording is JSON Lines or Parquet (by the file's name), with a mapping from our names to its fields. A
field is a key or a path, as `orcac.fields` reads them. Prompts are matched by question, and by system message
too where the recording has one, both with white space normalised. Where several rows answer one question, the
first is the answer and the others are counted. A system message that is null is none; a row whose question or answer
is null answers nothing, and is counted.

Only the answers that are `wanted` are kept, so memory is linear in the job and not in the recording.
Replayed answers do not go through the ledger: they stand in a local file already, and a miss is no fact
about the teacher but about the file, which may be a larger one next time.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.wire import replace_surrogates
from orcac.errors import InputError
from orcac.rows import lookup

_ABSENT = object()


class Source(NamedTuple):
    """Recorded files and which of their fields is which. `questions` hold texts that `answers` name by id."""

    answers: tuple[Path, ...]
    fields: Mapping[str, str]  # answer, and question or id; perhaps system
    questions: tuple[Path, ...] = ()
    question_fields: Mapping[str, str] = {}  # id, question


class _Asked(NamedTuple):
    question: str
    system: str | None  # None where the recording does not tell


class Replay:
    """The answers of `source` to the `wanted` requests. `duplicates` counts the rows that came too late, `skipped`
    those without a question or an answer.

    Raises InputError, with file and line, where a row is broken or lacks a field.
    """

    def __init__(self, source: Source, wanted: Iterable[ChatRequest]) -> None:
        self.where = ", ".join(path.name for path in source.answers)
        self.duplicates = self.skipped = 0
        self._by_system = "system" in source.fields
        self._answers: dict[_Asked, str] = {}
        keep = {self._asked(request) for request in wanted}
        texts = dict(_questions(source))
        for path in source.answers:
            for line, row in _rows(path):
                question = (
                    _question_of(path, line, row, source.fields["id"], texts)
                    if source.questions
                    else _text(path, line, row, source.fields["question"])
                )
                system = (_text(path, line, row, source.fields["system"]) or "") if self._by_system else None
                answer = _text(path, line, row, source.fields["answer"])
                if question is None or answer is None:
                    self.skipped += 1
                    continue
                asked = _normal(question, system)
                if asked in self._answers:
                    self.duplicates += 1
                elif asked in keep:
                    self._answers[asked] = answer

    async def __aenter__(self) -> Replay:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """The recorded answer. Raises ChatError `not_recorded` where there is none."""
        answer = self.find(request)
        if answer is None:
            raise ChatError("not_recorded", self.missed(request))
        return answer

    def missed(self, request: ChatRequest) -> str:
        """That there is no answer, for people."""
        question = textwrap.shorten(self._asked(request).question, 80, placeholder="...")
        return f"{self.where}: no answer to {question!r}"

    def find(self, request: ChatRequest) -> ChatResponse | None:
        """The recorded answer, None where there is none."""
        answer = self._answers.get(self._asked(request))
        return None if answer is None else ChatResponse(text=answer, finish_reason="stop")

    def _asked(self, request: ChatRequest) -> _Asked:
        by_role = {message.role: message.content for message in request.messages}
        return _normal(by_role["user"], by_role.get("system", "") if self._by_system else None)


def _normal(question: str, system: str | None) -> _Asked:
    return _Asked(" ".join(question.split()), None if system is None else " ".join(system.split()))


def _questions(source: Source) -> Iterator[tuple[str, str | None]]:
    """(id, text) of every question that stands in a file of its own."""
    for path in source.questions:
        for line, row in _rows(path):
            number = _field(path, line, row, source.question_fields["id"])
            if number is not None:
                yield str(number), _text(path, line, row, source.question_fields["question"])


def _question_of(path: Path, line: int, row: Any, field: str, texts: Mapping[str, str | None]) -> str | None:
    number = _field(path, line, row, field)
    if number is None:
        return None
    if str(number) not in texts:
        raise InputError(
            f"{path}:{line}: no question has the id {str(number)!r}",
            fix="give the file of questions that belongs to these answers",
        )
    return texts[str(number)]


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number, row) of a file; in Parquet, the number of the row."""
    if path.suffix == ".parquet":
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                batches = file.iter_batches(batch_size=1000)
                yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: not a Parquet file ({error})", fix="fetch the file again") from error
        return
    with path.open("rb") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                yield number, json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}:{number}: not a line of JSON ({error})", fix="mend or remove the line"
                ) from error


def _field(path: Path, line: int, row: Any, field: str) -> Any:
    """What stands at `field`, None for null."""
    value = lookup(row, field, _ABSENT)
    if value is _ABSENT:
        raise InputError(
            f"{path}:{line}: the row has no field {field!r}",
            fix="correct the recording's fields, or mend or remove the row",
        )
    return value


def _text(path: Path, line: int, row: Any, field: str) -> str | None:
    """The text at `field`, as it can be written to a file; None for null."""
    value = _field(path, line, row, field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(
            f"{path}:{line}: the field {field!r} is not text but {type(value).__name__}",
            fix="correct the recording's fields, or mend or remove the row",
        )
    return replace_surrogates(value)
