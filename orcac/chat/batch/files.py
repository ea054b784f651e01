"""Batches on disk: the record of each, its requests, and the requests that it left unanswered."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from orcac.chat.endpoints.completions import build_body
from orcac.chat.ledger.keys import Keys, pack_keys
from orcac.chat.ledger.record import request_of, request_record
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import FREE, Azure, EndpointSettings, Price
from orcac.chat.wire import dumps
from orcac.errors import StoreError
from orcac.store import durable
from orcac.store.checksum import add_checksum, parse_checked

_CHECKSUM = b"checksum%08x"  # the end of `left`, of the size of a key
_CHECKSUM_BYTES = 16
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


FIELDS = frozenset(field.name for field in dataclasses.fields(Batch))  # of a record, beside its checksum


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
    fix = "restore it, without its `crc` if you change it, or remove the folder: its requests are then asked again"
    try:
        return Batch(**parse_checked(durable.retry_stale(path.read_bytes), FIELDS))
    except (ValueError, TypeError):
        raise StoreError(f"{path}: the record is damaged", fix=fix) from None


def write_record(folder: Path, batch: Batch) -> None:
    """Write the record durably, and make the folder itself durable."""
    record = dataclasses.asdict(batch)
    for name in ("headers", "input_excess", "output_excess"):
        if not record[name]:
            del record[name]  # older versions know no such field
    durable.write(folder / "batch.json", add_checksum(json.dumps(record, indent=1).encode()))
    durable.sync_folder(folder.parent)


def encode_request(request: ChatRequest) -> bytes:
    """Return a request as a line of `requests.jsonl`, with its checksum."""
    return add_checksum(dumps({"request": request_record(request)}))


def read_requests(folder: Path) -> Iterator[ChatRequest]:
    """Yield the requests of a batch in the order of their lines. Raises StoreError if a line is damaged.

    A damaged question would give its answer to another one.
    """
    path = folder / "requests.jsonl"
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield request_of(parse_checked(line, ("request",))["request"])
            except (ValueError, LookupError, TypeError):
                fix = f"restore it, or give the batch up: `orcac batches cancel {folder.name}`"
                raise StoreError(f"{path}:{number}: the request is damaged", fix=fix) from None


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
    """Record the keys of the requests that an ended batch did not answer.

    The checksum takes the place of one more key, which an older orcac takes for one.
    """
    content = pack_keys(keys).tobytes()
    durable.write(folder / "left", content + _CHECKSUM % zlib.crc32(content))


def read_unanswered(folder: Path) -> Keys:
    """Return the sorted keys that `write_unanswered` recorded; none if it was not called.

    Raises StoreError if the file is damaged.
    """
    path, fix = folder / "left", "remove it: its requests then go into further batches"
    content = path.read_bytes() if path.exists() else b""
    keys, end = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if has_left_checksum(content) or end[8:] == b"%08x" % zlib.crc32(keys):  # one half of it may be damaged
        if end != _CHECKSUM % zlib.crc32(keys):
            raise StoreError(f"{path}: the file is damaged", fix=fix)
        content = keys
    if len(content) % _CHECKSUM_BYTES:
        raise StoreError(f"{path}: the file is cut off", fix=fix)
    return np.frombuffer(content, "S16")


def has_left_checksum(content: bytes) -> bool:
    """Return whether the content of a file of unanswered keys ends with a checksum."""
    return content[-_CHECKSUM_BYTES:].startswith(_CHECKSUM[:8])


def delete_transfers(folder: Path) -> None:
    """Delete the requests and the results of a settled batch; its record and its unanswered keys stay."""
    for name in ("output.jsonl", "errors.jsonl", "upload.jsonl", "requests.jsonl"):
        (folder / name).unlink(missing_ok=True)
