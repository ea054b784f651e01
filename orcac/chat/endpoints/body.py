"""The body of a response, read within bounds: a server may be broken or hostile, and a job has many requests in flight.

A body may have 4 MiB, before and after decompression, several times the longest answer of any model. It may have
250,000 brackets and commas, since each value of a JSON text may take 70 bytes of memory. So a request in flight takes
at most 50 MB, whatever the server sends.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

__all__ = ["ENCODINGS", "MAX_BYTES", "UnboundedBody", "has_many_values", "read_bounded", "read_file"]

ENCODINGS = "gzip, deflate"  # those that are decompressed here
MAX_BYTES = 4 << 20
_MAX_VALUES = 250_000
_WITH_HEADER, _WITHOUT_HEADER = 47, -15  # windows of zlib: a header of gzip or zlib, and none
_PIECE = 1 << 20  # bytes of a file that are decompressed at once


class UnboundedBody(Exception):
    """A body that is larger than any answer, or compressed in a form that was not asked for."""


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of a response, decompressed. Raises UnboundedBody; the connection is closed then.

    Else the connection is free afterwards. Raises aiohttp's errors as `response.read` does.
    """
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise UnboundedBody(f"a body of more than {MAX_BYTES >> 20} MiB")
        content = _decompress(body, response.headers.get("Content-Encoding", "").strip().lower())
        if has_many_values(content):
            raise UnboundedBody(f"a body of more than {_MAX_VALUES:,} values")
    except UnboundedBody:
        response.close()
        raise
    response.release()
    return content


def has_many_values(content: bytes) -> bool:
    """Return whether a JSON text may hold more values than that of an answer, which would take much memory."""
    return sum(map(content.count, (b"[", b"{", b","))) > _MAX_VALUES


async def read_file(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> AsyncIterator[bytes]:
    """Yield the decompressed content of a body that is a file, in pieces of 1 MiB at most.

    chunks: the body as it comes. Raises UnboundedBody if there are more than `limit` bytes, before or after
    decompression, or if the body is cut off or not in its encoding.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise UnboundedBody(f"a file in the encoding {encoding[:20]!r}, which was not asked for")
    is_encoded, decoder = encoding not in ("", "identity"), None
    came = size = 0
    async for chunk in chunks:
        if is_encoded and chunk and not decoder:
            decoder = _find_decoder(chunk)
        came += len(chunk)
        rest = chunk
        while rest:
            try:
                piece = decoder.decompress(rest, _PIECE) if decoder else rest
            except zlib.error:
                raise UnboundedBody(f"a file that is not in its encoding, {encoding}") from None
            rest = decoder.unconsumed_tail if decoder else b""
            size += len(piece)
            if max(came, size) > limit:
                raise UnboundedBody(f"a file of more than {limit >> 20:,} MiB")
            yield piece
    if decoder and not decoder.eof:
        raise UnboundedBody("a file that is cut off")


def _find_decoder(beginning: bytes) -> zlib._Decompress:
    """Return a decoder of a body that begins so: some servers send `deflate` without its header."""
    try:
        zlib.decompressobj(_WITH_HEADER).decompress(beginning, 1)
    except zlib.error:
        return zlib.decompressobj(_WITHOUT_HEADER)
    return zlib.decompressobj(_WITH_HEADER)


def _decompress(body: bytearray, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return bytes(body)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UnboundedBody(f"a body in the encoding {encoding[:20]!r}, which was not asked for")
    for window in (_WITH_HEADER, _WITHOUT_HEADER):  # some servers send `deflate` without its header
        decoder = zlib.decompressobj(window)
        try:
            content = decoder.decompress(body, MAX_BYTES + 1)
        except zlib.error:
            continue
        if len(content) > MAX_BYTES:
            raise UnboundedBody(f"a body of more than {MAX_BYTES >> 20} MiB after decompression")
        return content
    raise UnboundedBody(f"a body that is not in its encoding, {encoding}")
