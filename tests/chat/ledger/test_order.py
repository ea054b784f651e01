"""Tests of orcac/chat/ledger/order.py."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.order import in_order
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling


@pytest.mark.parametrize(("shuffled", "part_size"), [(50, 7), (5, 7), (50, 100)])
def test_answers_are_brought_into_the_order_of_the_questions(tmp_path: Path, shuffled: int, part_size: int) -> None:
    """All answers come in any order, or within groups of 5, and more or fewer are held than there are.

    Some questions share an answer, and some have none.
    """
    requests = [
        ChatRequest(model="m", messages=conversation(system="", user=str(n)), sampling=Sampling(), origin="api")
        for n in range(60)
    ]
    groups = (requests[begin : begin + shuffled] for begin in range(0, 50, shuffled))
    written = [request for group in groups for request in random.Random(0).sample(group, len(group))]

    async def go() -> None:
        async with Ledger(tmp_path / "answers") as ledger:
            for request in written:
                text = f"line\n{request.messages[0].content} \ud800".encode(errors="replace").decode()
                await ledger.append(request, ChatResponse(text=text, finish_reason="stop", omitted=("seed",)))
            asked = [*requests, *requests[10:20]]
            keys = np.array([bytes.fromhex(request.key) for request in asked], "S16")
            numbers = ledger.find(keys, asked[0].sampling.max_tokens)
            got = list(in_order(ledger, numbers, tmp_path / "parts", part_size=part_size))
            expected = [f"line\n{n} ?" if n < 50 else None for n in [*range(60), *range(10, 20)]]
            assert [answer and answer.text for answer in got] == expected
            assert {answer.omitted for answer in got if answer} == {("seed",)}
            assert not (tmp_path / "parts").exists()

    asyncio.run(go())
