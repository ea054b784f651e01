"""Small ledgers for tests: writing one, reading it, and sealing its logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import Record
from orcac.chat.ledger.sealing import seal
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling


def request(question: str) -> ChatRequest:
    messages = conversation(system="", user=question)
    return ChatRequest(model="m", messages=messages, sampling=Sampling(), origin="api")


def write(folder: Path, *pairs: tuple[str, str]) -> None:
    """Write these (question, answer) pairs to a new log."""

    async def go() -> None:
        async with Ledger(folder, gather_s=0.0) as ledger:
            for question, answer in pairs:
                await ledger.append(request(question), ChatResponse(text=answer, finish_reason="stop"))

    asyncio.run(go())


def answer_to(folder: Path, question: str) -> str | None:
    """Return the text of the recorded answer, None if the ledger has no answer."""
    with contextlib.closing(Ledger(folder)) as ledger:
        answer = ledger.get(request(question))
    return answer.text if answer else None


def question_of(record: Record) -> str:
    return record["request"]["messages"][-1][1]


def seal_old(folder: Path, *, min_logs: int = 1) -> None:
    """Let the logs look untouched for long, and seal them."""
    for path in folder.glob("*.jsonl"):
        os.utime(path, (0, 0))
    seal(folder, min_logs=min_logs)
