"""A batch while it is being planned: requests are added until it is full. Its record is written last."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from orcac.chat.batch import files
from orcac.chat.batch.files import Batch
from orcac.chat.batch.tuning import Tuning
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import EndpointSettings


class BatchDraft:
    """The folder of a future batch under `root`. Without a record it is not a batch; `finish` writes the record.

    Parameters that the same model refused in one of the `earlier` batches are not sent again.
    """

    def __init__(
        self, root: Path, settings: EndpointSettings, model: str, earlier: Iterable[Batch], tuning: Tuning
    ) -> None:
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
            headers=settings.headers,
            azure=settings.azure.model_dump() if settings.azure else None,
        )
        same = files.find_same(earlier, settings, model)
        self.batch.refused = sorted({parameter for batch in same for parameter in batch.refused})
        self._tuning, self._micro_usd, self._bytes = tuning, 0, 0
        self._folder = root / self.batch.id
        self._folder.mkdir()
        self._file = (self._folder / "requests.jsonl").open("wb")

    def add(self, request: ChatRequest, *, bound: int) -> bool:
        """Add a request that costs at most `bound` micro-dollars. Returns False if the draft has no room for it."""
        batch, size = self.batch, len(files.encode_upload_line(self.batch, self.batch.requests, request))
        if batch.requests and (
            batch.model != request.model
            or batch.requests == self._tuning.max_requests
            or self._bytes + size > self._tuning.max_bytes
        ):
            return False
        self._file.write(files.encode_request(request))
        self._bytes += size
        batch.requests += 1
        batch.tokens += estimate_tokens(request)
        self._micro_usd += bound
        return True

    def discard(self) -> None:
        """Delete the draft."""
        self._file.close()
        shutil.rmtree(self._folder)

    def finish(self) -> Batch:
        """Make the requests durable and write the record. Returns the batch."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.batch.usd_bound = self._micro_usd / 1e6
        files.write_record(self._folder, self.batch)
        return self.batch


def estimate_tokens(request: ChatRequest) -> int:
    """Return an estimate of the tokens that a request takes up in the provider's queue, at four bytes a token."""
    return request.input_token_bound // 4 + 1
