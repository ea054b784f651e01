"""Answers in the order of their questions; the ledger holds them in the order in which they were written.

The two orders are nearly the same if one job has asked all questions. So answers are read in the ledger's order, and
those that come early are held in memory until their turn. The answers may be larger than memory, though, and in any
order. If very many are held, they and all others go to disk, each to the file of its part of the questions; then the
parts are read one after the other, and each is put in order in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from orcac.chat.ledger.index import EntryNumbers
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import STORED_FIELDS
from orcac.chat.messages import ChatResponse
from orcac.chat.wire import dumps, loads

_stored_values = operator.attrgetter(*STORED_FIELDS)


def in_order(
    ledger: Ledger, numbers: EntryNumbers, folder: Path, *, part_size: int = 4096, max_parts: int = 256
) -> Iterator[ChatResponse | None]:
    """Yield the response of each of `numbers` in turn, None for -1.

    `numbers`: int32 (questions,), as `Ledger.find` returns them. At most `part_size` responses are held in memory, or
    more if that would make over `max_parts` parts: each is an open file in `folder`, which is emptied first and removed
    at the end.
    """
    size = max(part_size, -(-len(numbers) // max_parts))
    answered = np.flatnonzero(numbers >= 0).astype(np.int32)
    found = ((answered.item(index), response) for index, response in ledger.responses(numbers[answered]))
    held: dict[int, ChatResponse] = {}  # by question
    for question in range(len(numbers)):
        if numbers[question] < 0:
            yield None
            continue
        while question not in held and len(held) < size:
            other, response = next(found)
            held[other] = response
        if question not in held:
            rest = itertools.chain(held.items(), found)
            yield from _in_order_on_disk(rest, range(question, len(numbers)), folder, size)
            return
        yield held.pop(question)


def _in_order_on_disk(
    found: Iterable[tuple[int, ChatResponse]], questions: range, folder: Path, size: int
) -> Iterator[ChatResponse | None]:
    """Yield the responses to `questions` in turn, None for those without one, through parts of `size` questions.

    found: (question, response) of each response, in any order
    """
    parts = [questions[begin : begin + size] for begin in range(0, len(questions), size)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.jsonl" for number in range(len(parts))]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for question, response in found:
            values = [question, response.omitted, *_stored_values(response)]
            files[(question - questions.start) // size].write(dumps(values) + b"\n")
    for part, path in zip(parts, paths, strict=True):
        responses: list[ChatResponse | None] = [None] * len(part)
        with path.open("rb") as lines:
            for line in lines:
                question, omitted, *values = loads(line)
                by_name = dict(zip(STORED_FIELDS, values, strict=True))
                responses[question - part.start] = ChatResponse(**by_name, omitted=tuple(omitted))
        yield from responses
    shutil.rmtree(folder)
