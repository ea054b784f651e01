"""Tests of orcac/chat/batch/provider.py: the files of a provider that is broken or hostile."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from faults import FaultServer
from patience import PATIENCE_S

from orcac.chat.batch.provider import Provider
from orcac.chat.endpoints.client import make_client
from orcac.chat.failures import ChatError
from orcac.chat.settings import EndpointSettings

LIMIT = 8 << 20
BOMB = gzip.compress(b" " * (100 << 20))  # 100 MiB in 100 kB


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


def download(body: bytes | Callable[[], AsyncIterator[bytes]], headers: dict[str, str], path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body if isinstance(body, bytes) else body(), headers=headers)

    def mount(app: web.Application) -> None:
        app.router.add_get("/v1/files/{id}/content", answer)

    async def go(base_url: str) -> None:
        settings = EndpointSettings(kind="openai", base_url=base_url, timeout_seconds=PATIENCE_S)
        async with make_client(settings) as client:
            await Provider(client, ()).download("file-1", path, limit=LIMIT)

    with FaultServer(mount=mount) as server:
        asyncio.run(go(server.base_url))


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (endless, ""),
        (BOMB, "gzip"),
        (BOMB[:1000], "gzip"),
        (b"not compressed", "gzip"),
        (zlib.compress(b"yes"), "zstd"),
    ],
    ids=["endless", "bomb", "cut off", "not compressed", "unasked"],
)
def test_a_file_without_bounds_is_malformed_and_takes_little_memory(
    body: bytes | Callable[[], AsyncIterator[bytes]], encoding: str, tmp_path: Path
) -> None:
    import openai  # before memory is counted  # noqa: F401

    tracemalloc.start()
    with pytest.raises(ChatError) as caught:
        download(body, {"Content-Encoding": encoding} if encoding else {}, tmp_path / "output.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.error == "malformed" and peak < 50_000_000
    assert not list(tmp_path.iterdir()), "a file appears whole or not at all"


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "deflate, raw"])
def test_a_file_is_decompressed(encoding: str, tmp_path: Path) -> None:
    content = b'{"custom_id": "0"}\n' * 100_000
    packed = zlib.compress(content)
    bodies = {"": content, "gzip": gzip.compress(content), "deflate": packed, "deflate, raw": packed[2:-4]}
    body, encoding = bodies[encoding], encoding.partition(",")[0]
    download(body, {"Content-Encoding": encoding} if encoding else {}, tmp_path / "output.jsonl")
    assert (tmp_path / "output.jsonl").read_bytes() == content
