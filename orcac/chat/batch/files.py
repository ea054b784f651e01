"""Batches on disk: the record of each, the requests that it asks, and planning one (see batch.py)."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from orcac.chat.endpoints.completions import build_body
from orcac.chat.ledger.keys import Keys, pack_keys
from orcac.chat.ledger.record import request_of, request_record
from orcac.chat.limits.budget import to_micro_usd
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import FREE, Azure, EndpointSettings, Price
from orcac.chat.wire import dumps, loads
from orcac.errors import StoreError
from orcac.store import durable

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of one batch, by OpenAI's rules
ENDED = ("completed", "expired", "cancelled", "failed")  # what a provider's batch stays at


@dataclasses.dataclass(slots=True, kw_only=True)
class Batch:
    """One batch, as its record says."""

    id: str  # ours; the provider has it in the batch's metadata
    base_url: str | None
    api_key_env: str
    model: str
    requests: int
    tokens: int  # of its input, a guess: what waits in the provider's queue
    usd_bound: float  # the most that it can cost, in whole micro-dollars
    planned_at: float  # Unix time, as all times here
    price: dict[str, float] = dataclasses.field(default_factory=FREE.model_dump)  # a `Price`, as of planning
    budget: str = ""  # the folder of the budget that pays for it, under `answers/budgets/`
    budget_usd: float | None = None  # None where there is none
    azure: dict[str, Any] | None = None  # of `Azure`
    refused: list[str] = dataclasses.field(default_factory=list)  # parameters that its model does not take
    file_id: str = ""
    creating_at: float = 0.0  # `create` was sent then, and its answer was not heard
    provider_id: str = ""
    status: str = "planned"  # planned, uploaded, or what the provider says
    done: int = 0  # requests that the provider says it has dealt with
    lost: str = ""  # why its results cannot be had
    settled: bool = False  # what it answered is in the ledger
    answered: int = 0  # once it is settled, as the next
    usd: float = 0.0

    @property
    def settings(self) -> EndpointSettings:
        """How to reach its provider, and what it pays there."""
        return EndpointSettings(
            kind="openai",
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            azure=None if self.azure is None else Azure(**self.azure),
            price=Price(**self.price),
        )

    @property
    def url(self) -> str:
        """What its requests are for, in the provider's words."""
        return "/chat/completions" if self.azure else "/v1/chat/completions"


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
    durable.write(folder / "batch.json", json.dumps(dataclasses.asdict(batch), indent=1) + "\n")
    durable.sync_folder(folder.parent)


def requests(folder: Path) -> Iterator[ChatRequest]:
    with (folder / "requests.jsonl").open("rb") as file:
        yield from (request_of(loads(line)["request"]) for line in file)


def keys(folder: Path) -> Keys:
    """Of its requests; none where the batch has been settled since it was looked at."""
    try:
        return pack_keys(request.key for request in requests(folder))
    except FileNotFoundError:
        return pack_keys([])


def upload_line(batch: Batch, number: int, request: ChatRequest) -> bytes:
    """A line of the file that is uploaded."""
    body = build_body(request, batch.refused)
    if batch.azure and batch.azure["deployment"]:
        body["model"] = batch.azure["deployment"]
    line = {"custom_id": str(number), "method": "POST", "url": batch.url, "body": body}
    return dumps(line) + b"\n"


class Shard:
    """A batch that is being planned: its folder without a record, which is none until `close`.

    `known` are batches that went before: what the same model refused of theirs is not sent again.
    """

    def __init__(self, root: Path, settings: EndpointSettings, model: str, known: Iterable[Batch]) -> None:
        self.batch = Batch(
            id=secrets.token_hex(8),
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            model=model,
            requests=0,
            tokens=0,
            usd_bound=0.0,
            planned_at=time.time(),
            price=settings.price.model_dump(),
            budget=settings.budget_name,
            budget_usd=settings.budget_usd,
            azure=settings.azure.model_dump() if settings.azure else None,
        )
        where = (settings.base_url, self.batch.azure, model)
        same = (batch for batch in known if (batch.base_url, batch.azure, batch.model) == where)
        self.batch.refused = sorted({parameter for batch in same for parameter in batch.refused})
        self._micro = 0
        self._folder, self._bytes = root / self.batch.id, 0
        self._folder.mkdir()
        self._file = (self._folder / "requests.jsonl").open("wb")

    def add(self, request: ChatRequest, *, bound: int) -> bool:
        """Whether there was room for it. `bound` is the most that it can cost, in micro-dollars."""
        batch, size = self.batch, len(upload_line(self.batch, self.batch.requests, request))
        tokens = tokens_of(request)
        if batch.requests and (
            batch.model != request.model or batch.requests == MOST_REQUESTS or self._bytes + size > MOST_BYTES
        ):
            return False
        self._file.write(dumps({"request": request_record(request)}) + b"\n")
        self._bytes += size
        batch.requests += 1
        batch.tokens += tokens
        self._micro += bound
        return True

    def drop(self) -> None:
        """Plan nothing after all."""
        self._file.close()
        shutil.rmtree(self._folder)

    def close(self) -> Batch:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.batch.usd_bound = self._micro / 1e6
        write(self._folder, self.batch)
        return self.batch


def bound_of(request: ChatRequest, price: Price) -> int:
    """The most that it can cost in a batch, in micro-dollars."""
    return to_micro_usd(request.usd_bound(price) * price.batch)


def tokens_of(request: ChatRequest) -> int:
    return request.input_token_bound // 4 + 1


def name(batch: Batch) -> str:
    """For people: our id, and the provider's once there is one."""
    return f"batch {batch.id}" + (f" ({batch.provider_id})" if batch.provider_id else "")


def line_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.readline()


def forget(folder: Path) -> None:
    """Remove a batch that was planned and not sent; the record goes first, as it came last."""
    (folder / "batch.json").unlink(missing_ok=True)
    shutil.rmtree(folder)


def leave(folder: Path, keys: Iterable[str]) -> None:
    """Note the requests, by key, that a batch which ended has not settled."""
    (folder / "left").write_bytes(pack_keys(keys).tobytes())


def left(folder: Path) -> Keys:
    path = folder / "left"
    return np.frombuffer(path.read_bytes() if path.exists() else b"", "S16")


def drop(folder: Path) -> None:
    """Remove all but the record and the note of what is left."""
    for kept in ("output.jsonl", "errors.jsonl", "upload.jsonl", "requests.jsonl"):
        (folder / kept).unlink(missing_ok=True)
