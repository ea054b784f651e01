"""The Batch API of one account, through the files and batches of the openai package."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from orcac.chat.batch.files import Batch
from orcac.chat.batch.results import RemoteBatch, parse_description
from orcac.chat.endpoints.body import ENCODINGS, UnboundedBody, read_file
from orcac.chat.endpoints.client import make_client
from orcac.chat.endpoints.completions import parse_retry_after
from orcac.chat.endpoints.environment import find_key, read_headers
from orcac.chat.error_body import read_error
from orcac.chat.failures import ChatError, classify
from orcac.chat.settings import Azure
from orcac.chat.wire import replace_surrogates
from orcac.store.durable import replacing

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_CLOCK_ERROR_S = 86_400.0  # a generous bound on the difference between the provider's clock and ours


class Gone(Exception):
    """The provider does not know the batch or file that was asked for."""


class _RawResponse(Protocol):
    @property
    def content(self) -> bytes: ...


class Provider:
    """The files and batches of one account. `label` is its address, without secrets.

    Every method raises ChatError if the provider does not answer as it should; `create`, `retrieve`, `cancel` and
    `download` raise Gone if the batch or the file is not there.
    """

    def __init__(self, client: AsyncOpenAI, secrets: Iterable[str]) -> None:
        self._client = client
        password = urlsplit(str(client.base_url)).password or ""
        self._secrets = {text for secret in (*secrets, password) for text in (secret, repr(secret)[1:-1]) if text}
        self.label = str(client.base_url.copy_with(userinfo=b""))

    async def upload(self, path: Path, name: str) -> str:
        """Upload a file of requests under `name`. Returns its id."""
        with path.open("rb") as file:
            call = self._client.files.with_raw_response.create(file=(name, file), purpose="batch")
            return str((await self._read_json(call, "id", str))["id"])

    async def create(self, batch: Batch) -> RemoteBatch:
        """Start a batch on its uploaded file."""
        call = self._client.batches.with_raw_response.create(
            input_file_id=batch.file_id,
            endpoint=batch.path,  # type: ignore[arg-type]  # Azure's path has no version, which the package lacks
            completion_window="24h",
            metadata={"orcac": batch.id},
        )
        return await self._read_description(call)

    async def retrieve(self, batch: Batch) -> RemoteBatch:
        """Return the present description of a batch."""
        return await self._read_description(self._client.batches.with_raw_response.retrieve(batch.provider_id))

    async def cancel(self, batch: Batch) -> RemoteBatch:
        """Ask for a batch to be cancelled. Returns its description."""
        return await self._read_description(self._client.batches.with_raw_response.cancel(batch.provider_id))

    async def find(self, batch: Batch) -> RemoteBatch | None:
        """Search the provider's list, back to the planning of `batch`, for the batch that was made from it.

        Returns None if the list does not hold it.
        """
        after: dict[str, object] = {}
        while True:
            call = self._client.batches.with_raw_response.list(limit=100, extra_query=after)
            page = await self._read_json(call, "data", list)
            for item in page["data"]:
                made_from = (item.get("metadata") or {}).get("orcac"), item.get("input_file_id")
                if batch.id == made_from[0] or batch.file_id == made_from[1]:
                    return parse_description(item)
            if not page.get("has_more") or not page["data"]:
                return None
            last = page["data"][-1]
            if last.get("created_at", 0) < batch.planned_at - _CLOCK_ERROR_S:
                return None
            after = {"after": last["id"]}

    async def download(self, file_id: str, path: Path, limit: int) -> None:
        """Write a file of the provider to `path`, which appears whole or not at all. It may have `limit` bytes."""
        accepted = {"Accept-Encoding": ENCODINGS}
        with self._translated_errors(), replacing(path) as file:
            async with self._client.files.with_streaming_response.content(file_id, extra_headers=accepted) as response:
                encoding = response.headers.get("Content-Encoding", "")
                async for piece in read_file(response.http_response.aiter_raw(), encoding, limit):
                    file.write(piece)

    async def _read_description(self, call: Awaitable[_RawResponse]) -> RemoteBatch:
        return parse_description(await self._read_json(call, "id", str))

    async def _read_json(self, call: Awaitable[_RawResponse], field: str, kind: type) -> dict[str, Any]:
        """Return the JSON object that a call answers with. Raises ChatError unless `field` in it is of type `kind`."""
        with self._translated_errors():
            raw = await call
            body = json.loads(raw.content)
            if not isinstance(body, dict) or not isinstance(body.get(field), kind):
                raise ValueError(f"not an answer of the Batch API: {raw.content[:200]!r}")
            return body

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn the errors of the openai package, and ValueError, into ChatError or Gone."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            wait = parse_retry_after(error.response.headers, now=time.time())
            name = classify(error.status_code, error.body, retry_after=wait)
            text = self._mask_secrets(f"HTTP {error.status_code}: {error.message}")
            if error.status_code == 404 and name == "not_found":
                raise Gone(text) from None
            raise ChatError(name, text, retry_after=read_error(error.body).wait_s if wait is None else wait) from None
        except openai.APITimeoutError:
            raise ChatError("timeout", "no answer in time") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            refused = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
            text = self._mask_secrets(str(cause or error))
            raise ChatError("unreachable" if refused else "dropped", text) from None
        except (ValueError, UnboundedBody) as error:
            raise ChatError("malformed", self._mask_secrets(str(error))) from None
        except Exception as error:
            if not type(error).__module__.startswith("httpx"):  # a broken download raises httpx's error, not openai's
                raise
            raise ChatError("dropped", self._mask_secrets(str(error))) from None

    def _mask_secrets(self, text: str) -> str:
        """Return a message on one line, without secrets and at most 300 characters long."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return " ".join(replace_surrogates(text).split())[:300]


class Providers:
    """The providers of all accounts that batches were sent to, each opened once and closed with `stack`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._open = stack, dict[tuple[object, ...], Provider]()

    async def get(self, batch: Batch, timeout_s: float) -> Provider:
        """Return the provider of a batch. Raises EndpointError if the account's key is not set here."""
        settings = batch.settings.model_copy(update={"timeout_seconds": timeout_s})
        if settings.azure:  # the addresses of files and batches belong to the resource and have no deployment
            settings = settings.model_copy(update={"azure": Azure(api_version=settings.azure.api_version)})
        account = (settings.base_url, settings.api_key_env, settings.azure, *sorted(settings.headers.items()))
        if account not in self._open:
            client = await self._stack.enter_async_context(make_client(settings))
            self._open[account] = Provider(client, {find_key(settings)[1], *read_headers(settings).values()})
        return self._open[account]
