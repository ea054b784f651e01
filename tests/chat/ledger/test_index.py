"""Tests of orcac/chat/ledger/index.py."""

from __future__ import annotations

import asyncio
import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import request, write

from orcac.chat.ledger.index import insert_in_place
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import Sampling


def test_a_record_serves_the_caps_under_which_its_answer_would_be_the_same(tmp_path: Path) -> None:
    def capped(cap: int) -> ChatRequest:
        return dataclasses.replace(request("q"), sampling=Sampling(max_tokens=cap))

    cut = ChatResponse(text="it is", finish_reason="length", output_tokens=10)
    whole = ChatResponse(text="it is so", finish_reason="stop", output_tokens=30)

    async def go() -> None:
        async with Ledger(tmp_path) as ledger:
            await ledger.append(capped(10), cut)
            assert [ledger.get(capped(cap)) for cap in (8, 10, 11)] == [None, cut, None]
            await ledger.append(capped(100), whole)
            for one in (ledger, Ledger(tmp_path)):
                assert [one.get(capped(cap)) for cap in (10, 20, 30, 5000)] == [cut, None, whole, whole]
                assert [int(n) for n in one.find(pack_keys([request("q").key]), 20)] == [-1]
                numbers = [one.find(pack_keys([request("q").key]), cap) for cap in (10, 99)]
                assert [one.entries["output_tokens"][number] for number in numbers] == [10, 30]

    asyncio.run(go())


@pytest.mark.parametrize("wants", ["all", "some", "any"])
def test_wanted_records_and_no_others_are_found(tmp_path: Path, wants: str) -> None:
    """Some keys end in zeros, which NumPy strips. Every new entry is merged at once."""
    many = map(str, range(100_000))
    asked = [*islice((text for text in many if request(text).key.endswith("00")), 3), *map(str, range(40))]
    before, after, never = asked[::3], asked[1::3], asked[2::3]
    write(tmp_path, *((text, f"old {text}") for text in before))
    wanted = {"all": asked, "some": [asked[0], *asked[-3:]], "any": None}[wants]
    keys = None if wanted is None else pack_keys(request(text).key for text in wanted)

    async def go() -> None:
        async with Ledger(tmp_path, wanted=keys, max_unmerged=0) as ledger:
            await asyncio.gather(*(ledger.append(request(text), ChatResponse(text=f"new {text}")) for text in after))
            for text in asked:
                is_known = text in after or (text in before and (wanted is None or text in wanted))
                answer = ledger.get(request(text))
                assert (answer.text[4:] if answer else None) == (text if is_known else None)
                found = ledger.find(pack_keys([request(text).key]), 1024)
                is_merged = is_known and (wanted is None or text in wanted)
                assert [response.text[4:] for _, response in ledger.responses(found[found >= 0])] == [text] * is_merged
            assert never and all(ledger.get_outcome(request(text)) is None for text in never)

    asyncio.run(go())


@given(
    old=st.lists(st.integers(0, 40), max_size=60),
    new=st.lists(st.integers(0, 40), max_size=30),
    chunk=st.integers(1, 70),
)
def test_an_array_grows_in_place_as_with_numpy_insert(old: list[int], new: list[int], chunk: int) -> None:
    array, more = np.array(sorted(old), "i8"), np.array(sorted(new), "i8")
    positions = np.searchsorted(array, more, side="right")
    whole = np.insert(array, positions, more)
    insert_in_place(array, positions, more, chunk=chunk)
    assert array.tolist() == whole.tolist()
