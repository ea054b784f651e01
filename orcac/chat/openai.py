"""Any server that speaks chat completions (OpenAI, vLLM, SGLang, Ollama, the embedded teacher), as an
endpoint.

The `openai` package makes the call, so its configuration and environment variables work as people expect;
its own retries are off, since the engine decides what is tried again and when. The body of an answer is read
here and not by the package, which accepts anything that came with status 200.

The API key is taken from the environment when the endpoint opens, goes into the request's header and nowhere
else: a message that repeats it, the server's or an exception's, is masked before it becomes an error.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orcac.chat.messages import ChatError, ChatRequest, ChatResponse, classify, valid_unicode
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_NO_KEY = "none"  # what a local server that wants no key is sent
# By name, since the package has changed the HTTP library under it before.
_REFUSED = ("ConnectError", "ConnectTimeout")
_UNSENDABLE = ("UnsupportedProtocol", "LocalProtocolError", "InvalidURL")


@asynccontextmanager
async def connect(settings: EndpointSettings) -> AsyncIterator[OpenAIEndpoint]:
    """The endpoint of `settings`.

    Raises EndpointError where the provider needs a key and there is none, and for a key or an address that
    cannot be sent.
    """
    key = os.environ.get(settings.api_key_env, "").strip()  # a key that was read from a file brings its line end
    if not key and not settings.base_url and not os.environ.get("OPENAI_BASE_URL"):
        raise EndpointError(
            f"the environment variable {settings.api_key_env} holds no API key",
            fix=f"set {settings.api_key_env}, or give the endpoint a base_url",
        )
    if not all("!" <= character <= "~" for character in key):
        raise EndpointError(
            f"the API key in the environment variable {settings.api_key_env} has white space or something other than "
            "printable ASCII in it",
            fix=f"set {settings.api_key_env} to the key alone",
        )
    timeout_s = settings.timeout_seconds
    async with connect_to(settings.base_url, key=key or _NO_KEY, timeout_s=timeout_s) as endpoint:
        yield endpoint


@asynccontextmanager
async def connect_to(base_url: str | None, *, timeout_s: float, key: str = _NO_KEY) -> AsyncIterator[OpenAIEndpoint]:
    """The endpoint at `base_url` (None: the package's default), with this key whatever the environment has.

    Raises EndpointError where that is no web address.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # 0.5 s: only for those who ask

    if address := base_url or os.environ.get("OPENAI_BASE_URL"):
        _check_address(address)
    loopback = urlsplit(base_url or "").hostname in ("127.0.0.1", "localhost", "::1")
    http = DefaultAsyncHttpxClient(trust_env=False) if loopback else None  # no proxy between us and ourselves
    async with AsyncOpenAI(
        base_url=base_url, api_key=key, max_retries=0, timeout=timeout_s, http_client=http
    ) as client:
        yield OpenAIEndpoint(client, key=key, timeout_s=timeout_s)


def _check_address(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and base_url.isprintable()
    except ValueError:  # of the port, or of a bracket
        good = False
    if not good:
        shown = base_url.rpartition("@")[2]  # what stands before it may be a password
        raise EndpointError(
            f"base_url is no web address: {shown!r}",
            fix="write it with http:// or https:// in front, e.g. http://127.0.0.1:8000/v1",
        )


class OpenAIEndpoint:
    def __init__(self, client: AsyncOpenAI, *, key: str, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s
        self._secrets = () if key == _NO_KEY else (key, repr(key)[1:-1])  # as it is, and as exceptions quote it
        self.where = str(client.base_url.copy_with(userinfo=b""))

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """One attempt. Raises ChatError of the class that `classify` finds."""
        import openai

        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):  # of the whole call; the package's is for each read
                raw = await self._client.chat.completions.with_raw_response.create(**body(request))
            return parse(raw.content, latency_s=time.perf_counter() - start)
        except openai.APIStatusError as error:
            name = classify(error.status_code, error.body)
            wait = retry_after(error.response.headers, now=time.time())
            raise self._error(name, f"HTTP {error.status_code}: {error.message}", wait) from None
        except (openai.APITimeoutError, TimeoutError):
            name = classify(None, exception=TimeoutError())
            raise self._error(name, f"no answer in {self._timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            kind, text = type(error.__cause__).__name__, str(error.__cause__ or error)
            if kind in _UNSENDABLE:
                raise self._error("unsendable", text) from None
            cause = ConnectionRefusedError() if kind in _REFUSED else ConnectionError()
            raise self._error(classify(None, exception=cause), text) from None
        except ValueError as error:
            raise self._error(classify(None, exception=error), str(error)) from None

    def _error(self, name: str, message: str, retry_after: float | None = None) -> ChatError:
        for secret in self._secrets:
            message = message.replace(secret, "***")
        text = " ".join(valid_unicode(message).split())[:300]
        return ChatError(name, text, retry_after=retry_after)


def body(request: ChatRequest) -> dict[str, Any]:
    """The arguments of the package's `create` for a request."""
    sampling = request.sampling
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        arguments["seed"] = sampling.seed
    if sampling.extra:
        arguments["extra_body"] = dict(sampling.extra)
    return arguments


def parse(content: bytes, *, latency_s: float) -> ChatResponse:
    """The answer in a chat completion. Raises ValueError where `content` is none."""
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage") or {}
        text = message.get("content") or message.get("refusal") or ""
        return ChatResponse(
            text=valid_unicode(text),
            finish_reason=valid_unicode(choice.get("finish_reason") or "unknown"),
            input_tokens=int(usage.get("prompt_tokens") or 0),
            output_tokens=int(usage.get("completion_tokens") or 0),
            latency_s=latency_s,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Whole, since half a key cannot be masked; it is cut afterwards.
        raise ValueError(f"not a chat completion ({error!r}): {content!r}") from error


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the response's headers ask to wait, None where they do not. `now` is Unix time."""
    if milliseconds := _number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        return seconds
    date = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(date) - now) if date else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
