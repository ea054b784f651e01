"""Answers in the order of their questions; the ledger holds them in the order in which they were written.

The answers may be larger than memory. So they are read once, in the ledger's order, and each is written to the file
of its part of the questions; then the parts are read one after the other, and each is put in order in memory.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from orcac.chat.ledger.index import EntryNumbers
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import STORED_FIELDS
from orcac.chat.messages import ChatResponse
from orcac.chat.wire import dumps, loads


def in_order(
    ledger: Ledger, numbers: EntryNumbers, folder: Path, *, part_size: int = 4096, max_parts: int = 256
) -> Iterator[ChatResponse | None]:
    """Yield the response of each of `numbers` in turn, None for -1.

    `numbers`: int32 (questions,), as `Ledger.find` returns them. The parts are files in `folder`, which is emptied
    first and removed at the end. A part holds `part_size` questions, or more if there would be over `max_parts` parts:
    each is an open file.
    """
    size = max(part_size, -(-len(numbers) // max_parts))
    parts = -(-len(numbers) // size)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    answered = np.flatnonzero(numbers >= 0).astype(np.int32)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{part}.jsonl").open("wb")) for part in range(parts)]
        for index, response in ledger.responses(numbers[answered]):
            question = answered.item(index)
            fields = (getattr(response, name) for name in STORED_FIELDS)
            values = [question % size, response.omitted, *fields]
            files[question // size].write(dumps(values) + b"\n")
    for part in range(parts):
        responses: list[ChatResponse | None] = [None] * min(size, len(numbers) - part * size)
        with (folder / f"{part}.jsonl").open("rb") as lines:
            for line in lines:
                question, omitted, *values = loads(line)
                by_name = dict(zip(STORED_FIELDS, values, strict=True))
                responses[question] = ChatResponse(**by_name, omitted=tuple(omitted))
        yield from responses
    shutil.rmtree(folder)
