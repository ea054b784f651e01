"""Brings answers, which stand in the ledger in the order in which they were written, into the order of the prompts.

A table may be larger than memory. So the answers are gone through once, in their own order, and each is put into the
file of its part of the prompts; then one part after the other is read and put in order.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from orcac.chat.ledger.ledger import Ledger, Numbers
from orcac.chat.ledger.record import RESPONSE
from orcac.chat.messages import ChatResponse
from orcac.chat.wire import dumps, loads

_PART, _PARTS = 4096, 256  # prompts of one part, at least; parts, at most: each is an open file


def in_order(ledger: Ledger, numbers: Numbers, folder: Path) -> Iterator[ChatResponse | None]:
    """The record of each of `numbers` (as `Ledger.find` gives them), None for -1. `folder` is emptied and used."""
    size = max(_PART, -(-len(numbers) // _PARTS))
    parts = -(-len(numbers) // size)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    there = np.flatnonzero(numbers >= 0).astype(np.int32)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{part}.jsonl").open("wb")) for part in range(parts)]
        for place, response in ledger.responses(numbers[there]):
            position = there.item(place)
            values = [position % size, *(getattr(response, name) for name in RESPONSE)]
            files[position // size].write(dumps(values) + b"\n")
    for part in range(parts):
        responses: list[ChatResponse | None] = [None] * min(size, len(numbers) - part * size)
        with (folder / f"{part}.jsonl").open("rb") as lines:
            for line in lines:
                position, *values = loads(line)
                responses[position] = ChatResponse(**dict(zip(RESPONSE, values, strict=True)))
        yield from responses
    shutil.rmtree(folder)
