from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.collect import join


def test_answers_come_in_the_order_of_the_prompts_whatever_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts that are smaller than the table, with prompts that share an answer and prompts without one."""
    monkeypatch.setattr(join, "_PART", 7)
    requests = [
        ChatRequest(model="m", messages=conversation(system="", user=str(n)), sampling=Sampling(), origin="api")
        for n in range(60)
    ]
    written = random.Random(0).sample(requests[:50], 50)

    async def go() -> None:
        async with Ledger(tmp_path / "answers") as ledger:
            for request in written:
                text = f"line\n{request.messages[0].content} \ud800".encode(errors="replace").decode()
                await ledger.append(request, ChatResponse(text=text, finish_reason="stop"))
            asked = [*requests, *requests[10:20]]
            keys = np.array([bytes.fromhex(request.key) for request in asked], "S16")
            numbers = ledger.find(keys, asked[0].sampling.max_tokens)
            got = list(join.in_order(ledger, numbers, tmp_path / "join"))
            expected = [f"line\n{n} ?" if n < 50 else None for n in [*range(60), *range(10, 20)]]
            assert [answer and answer.text for answer in got] == expected
            assert not (tmp_path / "join").exists()

    asyncio.run(go())
