"""Tests of orcac/chat/endpoints/body.py: a hostile server costs a request, and no more memory than any other."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from faults import FaultServer
from patience import PATIENCE_S

from orcac.chat.endpoints.body import MAX_BYTES
from orcac.chat.endpoints.openai import connect_to
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling

REQUEST = ChatRequest(model="m", messages=conversation(system="", user="q"), sampling=Sampling(), origin="api")
ANSWER = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).encode()
LIMIT = 50_000_000  # bytes of memory for a request in flight


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


async def dribbling() -> AsyncIterator[bytes]:
    """Yield a byte from time to time, for ever, so that the connection never looks idle."""
    while True:
        yield b" "
        await asyncio.sleep(0.02)


def ask(
    body: bytes | Callable[[], AsyncIterator[bytes]], headers: dict[str, str], timeout_s: float = PATIENCE_S
) -> ChatResponse:
    """Return the answer of a server that sends this body."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body if isinstance(body, bytes) else body(), headers=headers)

    async def go(base_url: str) -> ChatResponse:
        async with connect_to(base_url, timeout_s=timeout_s) as endpoint:
            return await endpoint.complete(REQUEST)

    with FaultServer(mount=lambda app: app.router.add_post("/v2/chat/completions", answer)) as server:
        return asyncio.run(go(server.base_url.replace("/v1", "/v2")))


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)) + packer.flush()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (bomb(300_000_000), {"Content-Encoding": "gzip"}),
        (endless, {}),
        (b"[" + b"{}," * (MAX_BYTES // 4), {}),
        (b"\xf0\x9f\x99\x82" * (MAX_BYTES // 4), {}),
        (b'{"choices": 1, "text": "' + b"a" * (MAX_BYTES - 100) + b'"}', {}),
        (ANSWER, {"Content-Encoding": "br"}),
        (ANSWER, {"Content-Encoding": "gzip"}),
        (ANSWER, {"X-Long": "x" * 70_000}),
    ],
    ids=["gzip bomb", "endless", "many values", "no JSON", "long", "unknown encoding", "not gzip", "long header"],
)
def test_a_body_without_bounds_is_malformed_and_takes_little_memory(
    body: bytes | Callable[[], AsyncIterator[bytes]], headers: dict[str, str]
) -> None:
    ask(ANSWER, {})  # imports
    tracemalloc.start()
    try:
        with pytest.raises(ChatError) as caught:
            ask(body, headers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.error == "malformed" and len(str(caught.value)) < 1000
    assert peak < LIMIT, peak


def test_a_server_that_sends_a_byte_now_and_then_holds_no_request() -> None:
    with pytest.raises(ChatError) as caught:
        ask(dribbling, {}, timeout_s=1.0)
    assert caught.value.error == "timeout"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(ANSWER), "gzip"), (zlib.compress(ANSWER), "deflate"), (zlib.compress(ANSWER)[2:-4], "deflate")],
    ids=["gzip", "zlib", "raw deflate"],
)
def test_a_compressed_answer_is_an_answer(body: bytes, encoding: str) -> None:
    assert ask(body, {"Content-Encoding": encoding}).text == "yes"
