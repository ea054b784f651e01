"""Recorded answers as an endpoint, so that published answers need not be paid for again.

A recording is a table of any form (`orcac.tables`), with a mapping from our names to its fields. A field is a key or a
path, as `tables.paths` reads it. Prompts are matched by question, and by system message if the recording has one, both
with white space normalised. A null system message is an empty one; a row whose question or answer is null answers
nothing, and is counted as skipped. An answer is read as a server's is (`reader`), with the reasoning and the finish
reason if the recording has fields for them.

If several rows answer one question, the first one with a text counts. In a recording with several answers to each
question (`samples`), the k-th row of a question answers sample k. All other rows are counted as duplicates.

A row that cannot be read, lacks a field or names an unknown question is bad: it is kept aside among `bad` and does not
end the recording. If its question can be read, it keeps its number among the rows of that question.

Only the answers to `wanted` requests are held, and these on disk (`held`), so a question takes some 30 bytes of memory.
The texts of `questions` files are in memory. Replayed answers do not enter the ledger: they are in a local file
already, and a miss is a fact about that file and not about the teacher. A larger file may have the answer next time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from orcac.bad_rows import MOST_BAD_FIRST
from orcac.chat.endpoints.held import DIGEST_BYTES, Held
from orcac.chat.endpoints.reader import read_recorded
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.wire import replace_surrogates
from orcac.tables.paths import lookup
from orcac.tables.rows import BadRow, read_rows

_ABSENT = object()


class Source(NamedTuple):
    """Recorded files and the names of their fields. `questions` hold texts to which `answers` refer by id."""

    answers: tuple[Path, ...]
    fields: Mapping[str, str]  # keys: answer, and question or id; perhaps system, finish_reason and reasoning
    questions: tuple[Path, ...] = ()
    question_fields: Mapping[str, str] = {}  # keys: id, question
    samples: int = 1  # answers to each question


class _Prompt(NamedTuple):
    """A question and its system message, with white space normalised."""

    question: str
    system: str | None  # None if the recording has no system messages

    def digest(self) -> bytes:
        text = self.question if self.system is None else f"{self.question}\x1f{self.system}"
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


class _Row(NamedTuple):
    """A row of a file, with its place for messages."""

    path: Path
    number: int  # of the line, or of the row in Parquet, from 1
    value: object

    def field(self, name: str) -> object:
        """Return the value at `name`, None for null and NaN. Raises ValueError if there is no such field."""
        value: object = lookup(self.value, name, _ABSENT)
        if value is _ABSENT:
            raise ValueError(f"the row has no field {name!r}")
        return None if isinstance(value, float) and math.isnan(value) else value

    def text(self, name: str) -> str | None:
        """Return the text at `name`, without lone surrogates, None for null. Raises ValueError if it is not text."""
        value = self.field(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"the field {name!r} is not text but {type(value).__name__}")
        return replace_surrogates(value)

    def answer(self, fields: Mapping[str, str]) -> ChatResponse | None:
        """Return the response, or None for a row without an answer.

        Raises ValueError if the row lacks the field of the answer, or if that is not text.
        """
        content = self.field(fields["answer"])
        more = {name: lookup(self.value, fields[name]) for name in ("reasoning", "finish_reason") if name in fields}
        try:
            return read_recorded(content, **more)
        except ValueError:
            raise ValueError(f"the field {fields['answer']!r} is not text but {type(content).__name__}") from None

    def as_bad(self, error: ValueError) -> BadRow:
        """Return the row as a bad one, for a reason."""
        text = json.dumps(self.value, ensure_ascii=False, default=str)
        return BadRow(self.number, str(error), text, self.path.name)


class Replay:
    """The answers of `source` to the `wanted` requests.

    `duplicates` counts the rows that repeat a wanted question, `skipped` those without a question or an answer, `read`
    all rows. `bad` holds the rows that cannot be read. The answers are held in a file without a name in `folder`, by
    default that of the system. Raises InputError if a file cannot be read; a file of which the first
    MOST_BAD_FIRST rows are all bad is not read further.
    """

    def __init__(self, source: Source, wanted: Iterable[ChatRequest], *, folder: Path | None = None) -> None:
        self.label = ", ".join(path.name for path in source.answers)
        self.duplicates = self.skipped = self.read = 0
        self.bad: list[BadRow] = []
        self._has_system, self._samples = "system" in source.fields, source.samples
        self._held = Held(map(self._key_of, wanted), source.samples, folder)
        questions = dict(self._read_questions(source))
        for path in source.answers:
            for row in self._read_rows(path, source.fields.values()):
                try:
                    self._read_answer(row, source, questions)
                except ValueError as error:
                    self.bad.append(row.as_bad(error))

    async def __aenter__(self) -> Replay:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Return the recorded answer. Raises ChatError `not_recorded` if there is none."""
        answer = self.find(request)
        if answer is None:
            raise ChatError("not_recorded", self.describe_miss(request))
        return answer

    def describe_miss(self, request: ChatRequest) -> str:
        """Return the message for a request without a recorded answer."""
        question = textwrap.shorten(self._prompt_of(request).question, 80, placeholder="...")
        return f"{self.label}: no answer to {question!r}"

    def find(self, request: ChatRequest) -> ChatResponse | None:
        """Return the recorded answer, None if there is none."""
        digest, sample = self._key_of(request)
        place = self._held.find(digest)
        return None if place is None else self._held.get(place, sample)

    def _read_answer(self, row: _Row, source: Source, questions: Mapping[str, str | None]) -> None:
        """Hold a row's answer if it is wanted, and count the row of its question. Raises ValueError if it is bad."""
        if source.questions:
            question = _find_question(row, source.fields["id"], questions)
        else:
            question = row.text(source.fields["question"])
        system = (row.text(source.fields["system"]) or "") if self._has_system else None
        place = None if question is None else self._held.find(_normalize(question, system).digest())
        number = 0
        if place is not None:
            number = int(self._held.rows[place])
            self._held.rows[place] += 1
        answer = row.answer(source.fields)
        if question is None or answer is None:
            self.skipped += 1
        elif place is not None:
            self._add(place, number, answer)

    def _read_questions(self, source: Source) -> Iterator[tuple[str, str | None]]:
        """Yield (id, text) of every question in the files of questions."""
        for path in source.questions:
            for row in self._read_rows(path, source.question_fields.values()):
                try:
                    id = row.field(source.question_fields["id"])
                    if id is not None:
                        yield str(id), row.text(source.question_fields["question"])
                except ValueError as error:
                    self.bad.append(row.as_bad(error))

    def _read_rows(self, path: Path, fields: Iterable[str]) -> Iterator[_Row]:
        """Yield the good rows of a file, unless the first MOST_BAD_FIRST of all rows are bad: then stop."""
        for row in read_rows(path, "jsonl", [*fields]):
            if len(self.bad) == self.read == MOST_BAD_FIRST:
                return
            self.read += 1
            if isinstance(row, BadRow):
                self.bad.append(dataclasses.replace(row, file=path.name))
            else:
                yield _Row(path, *row)

    def _add(self, place: int, number: int, answer: ChatResponse) -> None:
        """Hold the answer of the row with this number among those of a prompt, or count it as a duplicate."""
        held = self._held
        if self._samples > 1:
            if number >= self._samples:
                self.duplicates += 1
            elif held.wants(place, number):
                held.put(place, number, answer)
            return
        is_held = held.has(place, 0)
        self.duplicates += is_held
        if not is_held or (answer.text.strip() and held.is_empty(place)):
            held.put(place, 0, answer)

    def _key_of(self, request: ChatRequest) -> tuple[bytes, int]:
        return self._prompt_of(request).digest(), request.sample_index if self._samples > 1 else 0

    def _prompt_of(self, request: ChatRequest) -> _Prompt:
        by_role = {message.role: message.content for message in request.messages}
        return _normalize(by_role["user"], by_role.get("system", "") if self._has_system else None)


def _normalize(question: str, system: str | None) -> _Prompt:
    return _Prompt(" ".join(question.split()), None if system is None else " ".join(system.split()))


def _find_question(row: _Row, field: str, questions: Mapping[str, str | None]) -> str | None:
    """Return the text of the question whose id is in `field`, None for null. Raises ValueError for an unknown id."""
    id = row.field(field)
    if id is None:
        return None
    if str(id) not in questions:
        raise ValueError(f"no question has the id {str(id)!r}")
    return questions[str(id)]
