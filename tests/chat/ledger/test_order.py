"""Tests of orcac/chat/ledger/order.py."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.order import in_order
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling


def test_answers_are_brought_into_the_order_of_the_questions(tmp_path: Path) -> None:
    """There are several parts, some questions share an answer, and some have none."""
    requests = [
        ChatRequest(model="m", messages=conversation(system="", user=str(n)), sampling=Sampling(), origin="api")
        for n in range(60)
    ]
    written = random.Random(0).sample(requests[:50], 50)

    async def go() -> None:
        async with Ledger(tmp_path / "answers") as ledger:
            for request in written:
                text = f"line\n{request.messages[0].content} \ud800".encode(errors="replace").decode()
                await ledger.append(request, ChatResponse(text=text, finish_reason="stop", omitted=("seed",)))
            asked = [*requests, *requests[10:20]]
            keys = np.array([bytes.fromhex(request.key) for request in asked], "S16")
            numbers = ledger.find(keys, asked[0].sampling.max_tokens)
            got = list(in_order(ledger, numbers, tmp_path / "parts", part_size=7))
            expected = [f"line\n{n} ?" if n < 50 else None for n in [*range(60), *range(10, 20)]]
            assert [answer and answer.text for answer in got] == expected
            assert {answer.omitted for answer in got if answer} == {("seed",)}
            assert not (tmp_path / "parts").exists()

    asyncio.run(go())
