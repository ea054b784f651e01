"""Batches on disk: the record of each, its requests, and the requests that it left unanswered."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from orcac.chat.endpoints.completions import build_body
from orcac.chat.ledger.keys import Keys, pack_keys
from orcac.chat.ledger.record import request_of
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import FREE, Azure, EndpointSettings, Price
from orcac.chat.wire import dumps, loads
from orcac.errors import StoreError
from orcac.store import durable

ENDED = ("completed", "expired", "cancelled", "failed")  # the final statuses of a provider's batch


@dataclasses.dataclass(slots=True, kw_only=True)
class Batch:
    """The record of one batch, with the fields of `batch.json`. All times are Unix times."""

    id: str  # ours; the provider has it in the batch's metadata
    base_url: str | None
    api_key_env: str
    model: str
    requests: int
    tokens: int  # an estimate of its input, which counts against the provider's queue
    usd_bound: float  # the most that it can cost, in whole micro-dollars
    planned_at: float
    price: dict[str, float] = dataclasses.field(default_factory=FREE.model_dump)  # a `Price`, as of planning
    budget: str = ""  # the folder of the budget that pays for it, under `answers/budgets/`
    budget_usd: float | None = None  # None: no budget
    azure: dict[str, str | None] | None = None  # the fields of `Azure`
    headers: dict[str, str] = dataclasses.field(
        default_factory=dict
    )  # header -> the name of a variable; absent if none
    refused: list[str] = dataclasses.field(default_factory=list)  # parameters that its model does not accept
    file_id: str = ""
    creating_at: float = 0.0  # the time of a `create` whose response has not arrived, else 0
    provider_id: str = ""
    status: str = "planned"  # planned, uploaded, or the status that the provider reports
    done: int = 0  # requests that the provider reports as processed
    lost: str = ""  # the reason why its results cannot be fetched; "" if they can
    settled: bool = False  # its answers are in the ledger, and its claim is over
    answered: int = 0  # requests with an answer, known once it is settled
    # tokens: the largest excess of an answer over its request's bound, as in `CostBounds`; absent if none
    input_excess: int = 0
    output_excess: int = 0
    usd: float = 0.0  # its cost, known once it is settled

    @property
    def settings(self) -> EndpointSettings:
        """Return the address of its provider and the price there."""
        return EndpointSettings(
            kind="openai",
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            azure=None if self.azure is None else Azure.model_validate(self.azure),
            headers=self.headers,
            price=Price(**self.price),
        )

    @property
    def path(self) -> str:
        """Return the path of the API that its requests are for."""
        return "/chat/completions" if self.azure else "/v1/chat/completions"

    @property
    def title(self) -> str:
        """Return its name in messages: our id, and the provider's once there is one."""
        return f"batch {self.id}" + (f" ({self.provider_id})" if self.provider_id else "")


def find_same(batches: Iterable[Batch], settings: EndpointSettings, model: str) -> list[Batch]:
    """Return the batches that ask `model` at the server of `settings`."""
    azure = settings.azure.model_dump() if settings.azure else None
    target = (settings.base_url, azure, model)
    return [batch for batch in batches if (batch.base_url, batch.azure, batch.model) == target]


def read_batches(answers: Path) -> list[Batch]:
    """Return the records of all batches under the ledger folder `answers`, the oldest first.

    Raises StoreError if a record is damaged.
    """
    found = (read_record(path.parent) for path in (answers / "batches").glob("*/batch.json"))
    return sorted(found, key=lambda batch: (batch.planned_at, batch.id))


def live_ids(answers: Path) -> list[str]:
    """Return the ids of the batches that are not settled, the oldest first. Raises StoreError as `read_batches`."""
    return [batch.id for batch in read_batches(answers) if not batch.settled]


def read_record(folder: Path) -> Batch:
    """Return the record of the batch in `folder`. Raises StoreError if it is damaged."""
    path = folder / "batch.json"
    try:
        return Batch(**json.loads(durable.retry_stale(path.read_bytes)))
    except (ValueError, TypeError):
        raise StoreError(
            f"{path}: the record is damaged", fix="repair it, or remove the folder: its requests are then asked again"
        ) from None


def write_record(folder: Path, batch: Batch) -> None:
    """Write the record durably, and make the folder itself durable."""
    record = dataclasses.asdict(batch)
    for name in ("headers", "input_excess", "output_excess"):
        if not record[name]:
            del record[name]  # older versions know no such field
    durable.write(folder / "batch.json", json.dumps(record, indent=1) + "\n")
    durable.sync_folder(folder.parent)


def read_requests(folder: Path) -> Iterator[ChatRequest]:
    """Yield the requests of a batch in the order of their lines."""
    with (folder / "requests.jsonl").open("rb") as file:
        yield from (request_of(loads(line)["request"]) for line in file)


def read_keys(folder: Path) -> Keys:
    """Return the sorted keys of a batch's requests; none if it was settled in the meantime."""
    try:
        return pack_keys(request.key for request in read_requests(folder))
    except FileNotFoundError:
        return pack_keys([])


def encode_upload_line(batch: Batch, number: int, request: ChatRequest) -> bytes:
    """Return line `number` (from 0) of the file that is uploaded for `batch`."""
    body = build_body(request, batch.refused)
    if batch.azure and batch.azure["deployment"]:
        body["model"] = batch.azure["deployment"]
    line = {"custom_id": str(number), "method": "POST", "url": batch.path, "body": body}
    return dumps(line) + b"\n"


def delete_unsent(folder: Path) -> None:
    """Remove a batch that was planned and not sent. The record goes first, as it was written last."""
    (folder / "batch.json").unlink(missing_ok=True)
    shutil.rmtree(folder)


def write_unanswered(folder: Path, keys: Iterable[str]) -> None:
    """Record the keys of the requests that an ended batch did not answer."""
    (folder / "left").write_bytes(pack_keys(keys).tobytes())


def read_unanswered(folder: Path) -> Keys:
    """Return the sorted keys that `write_unanswered` recorded; none if it was not called."""
    path = folder / "left"
    return np.frombuffer(path.read_bytes() if path.exists() else b"", "S16")


def delete_transfers(folder: Path) -> None:
    """Delete the requests and the results of a settled batch; its record and its unanswered keys stay."""
    for name in ("output.jsonl", "errors.jsonl", "upload.jsonl", "requests.jsonl"):
        (folder / name).unlink(missing_ok=True)
