"""Batches on disk: the record of each, the requests that it asks, and planning one (see batch.py)."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from orcac.chat import openai as online
from orcac.chat.messages import ChatRequest, Message
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import StoreError

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of one batch, by OpenAI's rules
ENDED = ("completed", "expired", "cancelled", "failed")  # what a provider's batch stays at
URL: Final = "/v1/chat/completions"


@dataclasses.dataclass(slots=True, kw_only=True)
class Batch:
    """One batch, as its record says."""

    id: str  # ours; the provider has it in the batch's metadata
    base_url: str | None
    api_key_env: str
    model: str
    requests: int
    tokens: int  # of its input, a guess: what waits in the provider's queue
    usd_bound: float  # the most that it can cost
    planned_at: float  # Unix time, as all times here
    file_id: str = ""
    creating_at: float = 0.0  # `create` was sent then, and its answer was not heard
    provider_id: str = ""
    status: str = "planned"  # planned, uploaded, or what the provider says
    done: int = 0  # requests that the provider says it has dealt with
    lost: str = ""  # why its results cannot be had
    settled: bool = False  # what it answered is in the ledger
    answered: int = 0  # once it is settled, as the next
    usd: float = 0.0


def batches(answers: Path) -> list[Batch]:
    """All batches that were ever planned here and are on record, the oldest first. Raises StoreError."""
    found = (read(path.parent) for path in (answers / "batches").glob("*/batch.json"))
    return sorted(found, key=lambda batch: (batch.planned_at, batch.id))


def read(folder: Path) -> Batch:
    path = folder / "batch.json"
    try:
        return Batch(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise StoreError(
            f"{path}: the record is damaged", fix="mend it, or remove the folder: its requests are then asked again"
        ) from None


def write(folder: Path, batch: Batch) -> None:
    path = folder / "batch.json"
    part = path.with_name(f"batch.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(batch), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    for place in (folder, folder.parent):
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _line(request: ChatRequest) -> bytes:
    record = {
        "model": request.model,
        "messages": request.messages,
        "sampling": request.sampling.model_dump(),
        "origin": request.origin,
        "sample_index": request.sample_index,
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def request_of(line: bytes) -> ChatRequest:
    record = json.loads(line)
    return ChatRequest(
        model=record["model"],
        messages=tuple(Message(*message) for message in record["messages"]),
        sampling=Sampling(**record["sampling"]),
        origin=record["origin"],
        sample_index=record["sample_index"],
    )


def requests(folder: Path) -> Iterator[ChatRequest]:
    with (folder / "requests.jsonl").open("rb") as file:
        yield from map(request_of, file)


def upload_line(number: int, request: ChatRequest) -> bytes:
    """A line of the file that is uploaded."""
    arguments = online.body(request)
    body = arguments | arguments.pop("extra_body", {})
    line = {"custom_id": str(number), "method": "POST", "url": URL, "body": body}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class Shard:
    """A batch that is being planned: its folder without a record, which is none until `close`."""

    def __init__(self, root: Path, settings: EndpointSettings, model: str) -> None:
        self.batch = Batch(
            id=secrets.token_hex(8),
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            model=model,
            requests=0,
            tokens=0,
            usd_bound=0.0,
            planned_at=time.time(),
        )
        self._folder, self._bytes = root / self.batch.id, 0
        self._folder.mkdir()
        self._file = (self._folder / "requests.jsonl").open("wb")

    def add(self, request: ChatRequest, *, bound: float) -> bool:
        """Whether there was room for it."""
        batch, size = self.batch, len(upload_line(self.batch.requests, request))
        tokens = tokens_of(request)
        if batch.requests and (
            batch.model != request.model or batch.requests == MOST_REQUESTS or self._bytes + size > MOST_BYTES
        ):
            return False
        self._file.write(_line(request))
        self._bytes += size
        batch.requests += 1
        batch.tokens += tokens
        batch.usd_bound += bound
        return True

    def close(self) -> Batch:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        write(self._folder, self.batch)
        return self.batch


def tokens_of(request: ChatRequest) -> int:
    return request.input_token_bound // 4 + 1


def name(batch: Batch) -> str:
    """For people: our id, and the provider's once there is one."""
    return f"batch {batch.id}" + (f" ({batch.provider_id})" if batch.provider_id else "")


def line_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.readline()


def drop(folder: Path) -> None:
    """Remove all but the record."""
    for kept in ("output.jsonl", "errors.jsonl", "upload.jsonl", "requests.jsonl"):
        (folder / kept).unlink(missing_ok=True)
