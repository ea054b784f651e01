"""The Batch API of one account, through the openai package's files and batches (see batch.py)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orcac.chat.batch.files import Batch
from orcac.chat.endpoints.client import find_key, make_client
from orcac.chat.endpoints.completions import parse_retry_after
from orcac.chat.failures import ChatError, classify
from orcac.chat.settings import Azure
from orcac.chat.wire import replace_surrogates
from orcac.store.durable import replacing

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class Gone(Exception):
    """The provider does not know what we ask for."""


class Provider:
    """The files and batches of one account. Every method raises ChatError, those that fetch raise Gone too."""

    def __init__(self, client: AsyncOpenAI, key: str) -> None:
        self._client = client
        password = urlsplit(str(client.base_url)).password or ""
        self._secrets = {text for secret in (key, password) for text in (secret, repr(secret)[1:-1]) if text}
        self.where = str(client.base_url.copy_with(userinfo=b""))

    async def upload(self, path: Path, name: str) -> str:
        with path.open("rb") as file:
            call = self._client.files.with_raw_response.create(file=(name, file), purpose="batch")
            return str((await self._answer(call))["id"])

    async def create(self, batch: Batch) -> dict[str, Any]:
        call = self._client.batches.with_raw_response.create(
            input_file_id=batch.file_id,
            endpoint=batch.url,  # type: ignore[arg-type]  # Azure has no version in it
            completion_window="24h",
            metadata={"orcac": batch.id},
        )
        return await self._answer(call)

    async def retrieve(self, batch: Batch) -> dict[str, Any]:
        return await self._answer(self._client.batches.with_raw_response.retrieve(batch.provider_id))

    async def cancel(self, batch: Batch) -> dict[str, Any]:
        return await self._answer(self._client.batches.with_raw_response.cancel(batch.provider_id))

    async def find(self, batch: Batch) -> dict[str, Any] | None:
        """The provider's batch that was made of ours, None where its list, back to the time of ours, has none."""
        after: dict[str, Any] = {}
        while True:
            page = await self._answer(self._client.batches.with_raw_response.list(limit=100, **after), one=False)
            listed = page["data"]
            for one in listed:
                if (one.get("metadata") or {}).get("orcac") == batch.id or one.get("input_file_id") == batch.file_id:
                    return dict(one)
            old = listed and listed[-1].get("created_at", 0) < batch.planned_at - 86_400  # whatever its clock says
            if not page.get("has_more") or not listed or old:
                return None
            after = {"after": listed[-1]["id"]}

    async def download(self, file_id: str, path: Path) -> None:
        """The file appears whole or not at all."""
        with self._errors(), replacing(path) as file:
            async with self._client.files.with_streaming_response.content(file_id) as response:
                async for chunk in response.iter_bytes():
                    file.write(chunk)

    async def _answer(self, call: Awaitable[Any], *, one: bool = True) -> dict[str, Any]:
        with self._errors():
            raw = await call
            body = json.loads(raw.content)
            if not isinstance(body, dict) or not (
                isinstance(body.get("id"), str) if one else isinstance(body.get("data"), list)
            ):
                raise ValueError(f"not an answer of the Batch API: {raw.content[:200]!r}")
            return body

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            name, text = (
                classify(error.status_code, error.body),
                self._masked(f"HTTP {error.status_code}: {error.message}"),
            )
            if error.status_code == 404 and name == "not_found":
                raise Gone(text) from None
            wait = parse_retry_after(error.response.headers, now=time.time())
            raise ChatError(name, text, retry_after=wait) from None
        except openai.APITimeoutError:
            raise ChatError("timeout", "no answer in time") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            refused = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
            text = self._masked(str(cause or error))
            raise ChatError("unreachable" if refused else "dropped", text) from None
        except ValueError as error:
            raise ChatError("malformed", self._masked(str(error))) from None
        except Exception as error:
            if not type(error).__module__.startswith("httpx"):  # which comes bare out of a broken download
                raise
            raise ChatError("dropped", self._masked(str(error))) from None

    def _masked(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return " ".join(replace_surrogates(text).split())[:300]


class Providers:
    """A provider for each account that a batch was sent to."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._open = stack, dict[tuple[str | None, str, Azure | None], Provider]()

    async def of(self, batch: Batch, timeout_s: float) -> Provider:
        """Raises EndpointError where the account's key is missing here."""
        settings = batch.settings.model_copy(update={"timeout_seconds": timeout_s})
        if settings.azure:  # files and batches are the resource's: their addresses have no deployment
            settings = settings.model_copy(update={"azure": Azure(api_version=settings.azure.api_version)})
        account = (settings.base_url, settings.api_key_env, settings.azure)
        if account not in self._open:
            client = await self._stack.enter_async_context(make_client(settings))
            self._open[account] = Provider(client, find_key(settings)[1])
        return self._open[account]
