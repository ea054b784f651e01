"""The ledger: every answer that was ever received, on disk before it counts, shared by all experiments.

A folder of append-only segments, JSON Lines. A segment has one writer (its name holds host, process and a
random part), so any number of processes on one file system can add answers at once with no lock. A record
names its request's key first and holds the whole request too: the ledger can be read, exported and keyed
anew by itself.

- `await append(...)` returns when the record is durable. Appends that come while a sync is under way share
  the next one (group commit), so the cost of a sync is divided by the number of requests in flight.
- A process killed in the middle of a write leaves a last line without its end. Readers skip it; nobody
  truncates, since the segment may belong to a live writer. Such a record was never acknowledged.
- Where two processes asked the same question at once, the answer that was written first is the answer.
- Only what settles a request is recorded: an answer (cut off or not), or a failure of the request itself. A
  server that was down, or that called the request bad, says nothing for good: it is asked again next time.
- A line of JSON that is no such record, whoever wrote it, is skipped: its question is asked again, too.

Opening reads every segment and keeps the answers that are `wanted`: time is linear in the ledger (about 1 s
for 100,000 answers), memory linear in the job. That serves some millions of answers; beyond that it wants an
index.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import secrets
import socket
import time
from collections.abc import Container, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from orcac.chat.messages import ERRORS, KEY_VERSION, ChatRequest, ChatResponse
from orcac.errors import StoreError

_START = b'{"key":"'
_KEY = slice(len(_START), len(_START) + 64)  # where a record's key stands in its line
_RESPONSE = [field.name for field in dataclasses.fields(ChatResponse) if field.name != "rates"]
_datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def records(folder: Path, wanted: Container[str] | None = None) -> Iterator[dict[str, Any]]:
    """The complete records in `folder`, segment by segment; those of `wanted` keys alone, or all.

    Raises StoreError naming file and line where a complete line is no JSON.
    """
    for segment in sorted(folder.glob("*.jsonl")):
        with segment.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # torn: a kill in the middle of a write, or a write under way
                started = line.startswith(_START)
                if started and wanted is not None and line[_KEY].decode("ascii", "replace") not in wanted:
                    continue
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise StoreError(
                        f"{segment}:{number}: the record is damaged",
                        fix="delete that line; its question will be asked again",
                    ) from error
                if started and _is_record(record):
                    yield record


def _is_record(value: Any) -> bool:
    """Whether `value` is what `append` writes, of an answer or of a failure that is kept."""
    match value:
        case {
            "key": str(),
            "at": int() | float(),
            "request": dict(),
            "response": {"text": str(), "error": error} as response,
        }:
            return response.keys() <= set(_RESPONSE) and (not error or (error in ERRORS and ERRORS[error].kept))
    return False


class Ledger:
    """The answers in `folder` to the `wanted` keys (None: to all), and one new segment to add to.

    Use as `async with Ledger(folder, wanted) as ledger`. Raises StoreError where a record is damaged.
    """

    def __init__(self, folder: Path, wanted: Container[str] | None = None) -> None:
        self._folder = folder
        self._file = -1  # made at the first append, so that reading alone leaves no trace
        self._broken: StoreError | None = None
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        first: dict[str, float] = {}
        self._answers: dict[str, ChatResponse] = {}
        for record in records(folder, wanted):
            key, at = record["key"], record["at"]
            if at < first.get(key, float("inf")):
                first[key] = at
                self._answers[key] = ChatResponse(**record["response"])

    def get(self, request: ChatRequest) -> ChatResponse | None:
        """What settles `request`, None where nothing does yet."""
        return self._answers.get(request.key)

    async def append(self, request: ChatRequest, response: ChatResponse) -> None:
        """Record what settles `request`; returns when it is durable. Raises StoreError when it cannot be."""
        assert not response.error or ERRORS[response.error].kept, response.error
        key = request.key
        record = {
            "key": key,  # first: readers find it without parsing the line
            "key_version": KEY_VERSION,
            "at": time.time(),
            "request": {
                "model": request.model,
                "messages": request.messages,
                "sampling": request.sampling.model_dump(),
                "origin": request.origin,
                "sample_index": request.sample_index,
            },
            "response": {name: getattr(response, name) for name in _RESPONSE},
        }
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        durable = asyncio.get_running_loop().create_future()
        self._pending.append((line, durable))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit())
        await durable
        self._answers.setdefault(key, response)

    async def _commit(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in batch))
            except OSError as error:
                self._broken = self._broken or StoreError(
                    f"{self._folder}: an answer could not be written ({error.strerror or error})",
                    fix="free or mount the disk and run again; every answer reported so far is kept",
                )
            for _, durable in batch:
                if durable.done():  # its request was cancelled; the record is there all the same
                    continue
                if self._broken:
                    durable.set_exception(self._broken)
                else:
                    durable.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._broken:  # the segment may end in half a record, which must stay its last
            return
        if self._file < 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self._folder / name, flags, 0o644)
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]
        _datasync(self._file)

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._committer:
            await self._committer
        if self._file >= 0:
            os.close(self._file)


__all__ = ["Ledger", "records"]
