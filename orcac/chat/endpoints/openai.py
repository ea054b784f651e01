"""Any server that speaks chat completions (OpenAI, Azure, vLLM, SGLang, Ollama, the embedded teacher), as an
endpoint.

The `openai` package says what a request looks like: it writes one, which is not sent, and every request goes out
with that one's address and headers. So its configuration and environment variables work as people expect, Azure's
addresses among them. The sending is aiohttp's, over connections that are kept: the package's own costs ten times
the CPU and caps what one process can ask (docs/decisions.md). Whether and when something is tried again is the
engine's to decide.

- A redirect is not followed: it would carry the key to an address that nobody wrote down.
- A proxy of the environment is looked up once, and never stands between us and this machine.
- A model that refuses a parameter which need not be sent (top_p and temperature of 1) or has another name for it
  (max_tokens) is sent the request again without it, and so is every later one; the refusal is not billed.
- What may be an answer is read strictly, since anything can come with status 200; a usage that makes no sense
  counts as none.

The API key is taken from the environment when the endpoint opens, goes into the request's header and nowhere
else: a message that repeats it, the server's or an exception's, is masked before it becomes an error.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orcac.chat.failures import ChatError, classify
from orcac.chat.messages import MAX_CAP, ChatRequest, ChatResponse, RateHeaders
from orcac.chat.settings import OPENAI_URL, EndpointSettings
from orcac.chat.wire import dumps, loads, replace_surrogates
from orcac.errors import EndpointError

if TYPE_CHECKING:
    import aiohttp
    import yarl
    from openai import AsyncOpenAI

_NO_KEY = "none"  # what a local server that wants no key is sent
_CONNECT_S = 10.0  # a server that takes longer to take the call is not there
_IDLE_S = 4.0  # a connection is not kept longer, since uvicorn (vLLM) hangs up after 5
_AD_TOKEN = "AZURE_OPENAI_AD_TOKEN"  # the package's name for it
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Of the request that the package wrote: what belongs to its own connection, or says how it sends and retries.
_NOT_OURS = ("host", "connection", "content-length", "accept-encoding", "x-stainless-")
_OPEN = ("accept", "content-type", "user-agent", "openai-")  # header names that hold no secret
_SECRET_CHARACTERS = 8  # fewer are no secret, but for a key's


@asynccontextmanager
async def connect(settings: EndpointSettings) -> AsyncIterator[OpenAIEndpoint]:
    """The endpoint of `settings`. Raises what `client_of` raises."""
    async with client_of(settings) as client, _open(client, timeout_s=settings.timeout_seconds) as endpoint:
        yield endpoint


@asynccontextmanager
async def connect_to(base_url: str, *, timeout_s: float, key: str = _NO_KEY) -> AsyncIterator[OpenAIEndpoint]:
    """The endpoint at `base_url`, with this key whatever the environment has.

    Raises EndpointError where that is no web address.
    """
    from openai import AsyncOpenAI  # 0.5 s: only for those who ask

    _check_address(base_url)
    async with (
        AsyncOpenAI(base_url=base_url, api_key=key) as client,
        _open(client, timeout_s=timeout_s) as endpoint,
    ):
        yield endpoint


def client_of(settings: EndpointSettings) -> AsyncOpenAI:
    """The `openai` package's client for `settings`, for Azure its client for Azure; it tries nothing again.

    Raises EndpointError where the provider needs a key or an address and there is none, and for a key, an address or
    a proxy that is of no use.
    """
    from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

    variable = "AZURE_OPENAI_ENDPOINT" if settings.azure else "OPENAI_BASE_URL"
    address = settings.base_url or os.environ.get(variable)
    name, key = key_of(settings)
    if not key and (settings.azure or not address):
        raise EndpointError(
            f"the environment variable {settings.api_key_env} holds no API key",
            fix=f"set {settings.api_key_env}"
            + (f", or {_AD_TOKEN}" if settings.azure else ", or give the endpoint a base_url"),
        )
    if not all("!" <= character <= "~" for character in key):
        raise EndpointError(
            f"the API key in the environment variable {name} has white space or something other than printable ASCII "
            "in it",
            fix=f"set {name} to the key alone",
        )
    if settings.azure and not address:
        raise EndpointError(
            "the endpoint is Azure's and has no address",
            fix="give it the resource's base_url, https://NAME.openai.azure.com, or set AZURE_OPENAI_ENDPOINT",
        )
    if address:
        _check_address(address)
    _proxy(address or OPENAI_URL)
    loopback = urlsplit(address or "").hostname in _LOOPBACK
    http = DefaultAsyncHttpxClient(trust_env=False) if loopback else None  # no proxy between us and ourselves
    timeout_s = settings.timeout_seconds
    if settings.azure:
        assert address
        return AsyncAzureOpenAI(
            azure_endpoint=address,
            azure_deployment=settings.azure.deployment,
            api_version=settings.azure.api_version,
            api_key=None if name == _AD_TOKEN else key,
            azure_ad_token=key if name == _AD_TOKEN else None,
            max_retries=0,
            timeout=timeout_s,
            http_client=http,
        )
    return AsyncOpenAI(
        base_url=settings.base_url, api_key=key or _NO_KEY, max_retries=0, timeout=timeout_s, http_client=http
    )


def key_of(settings: EndpointSettings) -> tuple[str, str]:
    """The environment variable that holds the key, and the key. With Azure it may be a token of Entra ID instead."""
    for name in (settings.api_key_env, *([_AD_TOKEN] if settings.azure else [])):
        if key := os.environ.get(name, "").strip():  # what was read from a file brings its line end
            return name, key
    return settings.api_key_env, ""


def _check_address(base_url: str) -> None:
    if "?" in base_url or "#" in base_url:  # it is not shown: what follows may be a secret
        raise EndpointError(
            "base_url has a query or a fragment, with which no address can be made",
            fix="leave out the ? or # and what follows it; give Azure's `api_version` in `azure`, the key in the "
            "environment",
        )
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


@asynccontextmanager
async def _open(client: AsyncOpenAI, *, timeout_s: float) -> AsyncIterator[OpenAIEndpoint]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S)  # the engine bounds what is in flight
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(_CONNECT_S, timeout_s))
    proxy, cookies = _proxy(str(client.base_url)), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, proxy=proxy, cookie_jar=cookies) as session:
        yield OpenAIEndpoint(client, session, timeout_s=timeout_s, proxy=proxy)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`. Raises EndpointError where it is no HTTP proxy."""
    parts = urlsplit(url)
    if parts.hostname in _LOOPBACK or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if (kind := urlsplit(proxy).scheme) not in ("http", "https"):
        raise EndpointError(
            f"the environment names a proxy of the kind {kind!r}",
            fix=f"set {parts.scheme.upper()}_PROXY to an HTTP proxy, or NO_PROXY to {parts.hostname}",
        )
    return proxy


class _Unsent(Exception):
    """Ends the package's call once its request is written."""


class _Refused(Exception):
    """The model does not know a parameter that the request can do without; `error` is what the server said."""

    def __init__(self, parameter: str, error: ChatError) -> None:
        super().__init__(parameter)
        self.parameter, self.error = parameter, error


class OpenAIEndpoint:
    def __init__(
        self, client: AsyncOpenAI, session: aiohttp.ClientSession, *, timeout_s: float, proxy: str | None = None
    ) -> None:
        self._client, self._session, self._timeout_s = client, session, timeout_s
        self._targets: dict[str, yarl.URL] = {}  # by model, which Azure has in its addresses
        self._aiming = asyncio.Lock()
        self._refused: dict[str, frozenset[str]] = {}  # by model: parameters
        self._secrets = {
            password for url in (str(client.base_url), proxy or "") if (password := urlsplit(url).password)
        }
        self._keep_secret(client.api_key)
        self.where = str(client.base_url.copy_with(userinfo=b""))

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """One attempt. Raises ChatError of the class that `classify` finds."""
        while True:
            refused = self._refused.get(request.model, frozenset())
            try:
                return await self._send(request, refused)
            except _Refused as error:
                if error.parameter in refused:
                    raise error.error from None
                self._refused[request.model] = self._refused.get(request.model, frozenset()) | {error.parameter}

    async def _send(self, request: ChatRequest, refused: frozenset[str]) -> ChatResponse:
        import aiohttp

        start = time.perf_counter()
        try:
            target = self._targets.get(request.model)
            if target is None:
                async with self._aiming:  # once: writing one takes as long as a hundred requests
                    target = self._targets.get(request.model) or await self._aim(request.model)
            content = aiohttp.BytesPayload(dumps(body(request, refused)))
            response = await self._session.post(target, data=content, allow_redirects=False)
            received = await response.read()  # then, or where that fails, the connection is free
            status, headers = response.status, response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise self._error(classify(None, exception=ConnectionRefusedError()), str(error)) from None
        except TimeoutError:
            name = classify(None, exception=TimeoutError())
            raise self._error(name, f"no answer in {self._timeout_s:g} s") from None
        except aiohttp.ClientResponseError as error:  # what came was not HTTP
            raise self._error(classify(None, exception=ValueError()), str(error)) from None
        except (ValueError, TypeError) as error:  # of an address, a header or a body
            raise self._error("unsendable", str(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            text = str(error) or type(error).__name__
            raise self._error(classify(None, exception=ConnectionError()), text) from None
        rates = rate_headers(headers)
        if not 200 <= status < 300:
            told = _told(received)
            name, wait = classify(status, told), retry_after(headers, now=time.time())
            text = f"HTTP {status}: {_message(told)}" + (f", to {headers.get('location')}" if status < 400 else "")
            # Azure tells a request that is too large to wait for a day; the others need not.
            failed = self._error(name, text, None if name == "too_large" else wait, rates)
            if name == "unsupported" and (parameter := dispensable(told, request)):
                raise _Refused(parameter, failed)
            raise failed
        try:
            return parse(received, latency_s=time.perf_counter() - start, rates=rates)
        except ValueError as error:
            raise self._error(classify(None, exception=error), str(error), rates=rates) from None

    async def _aim(self, model: str) -> yarl.URL:
        """Where the package would send a request for `model`; its headers are the session's from then on.

        Raises ValueError where it cannot write one.
        """
        import openai
        import yarl

        written = []

        class Caught(openai.DefaultAsyncHttpxClient):
            async def send(self, request: Any, **_: Any) -> Any:
                written.append(request)
                raise _Unsent

        try:
            async with Caught(trust_env=False) as http:
                await self._client.with_options(http_client=http).chat.completions.create(model=model, messages=[])
        except (_Unsent, openai.OpenAIError) as error:
            if not written:
                raise ValueError(str(error)) from None
        request = written[0]
        headers = {name: value for name, value in request.headers.items() if not name.lower().startswith(_NOT_OURS)}
        url = request.url
        if url.userinfo:  # as HTTP clients do: it takes the place of the key
            from aiohttp import BasicAuth

            headers["authorization"] = BasicAuth(url.username, url.password).encode()
            url = url.copy_with(userinfo=b"")
        for name, value in headers.items():
            if not name.lower().startswith(_OPEN):
                self._keep_secret(value.rpartition(" ")[2], header=name)
        self._session.headers.update(headers)  # the same for every model
        self._targets[model] = target = yarl.URL(str(url))
        return target

    def _keep_secret(self, secret: str | None, *, header: str = "authorization") -> None:
        """Mask it from now on. A short value of a header that holds no key is no secret."""
        of_key = header.lower().endswith(("authorization", "api-key"))
        if secret and secret != _NO_KEY and (of_key or len(secret) >= _SECRET_CHARACTERS):
            self._secrets |= {secret, repr(secret)[1:-1]}  # as it is, and as exceptions quote it

    def _error(
        self, name: str, message: str, retry_after: float | None = None, rates: RateHeaders | None = None
    ) -> ChatError:
        for secret in sorted(self._secrets, key=len, reverse=True):
            message = message.replace(secret, "***")
        text = " ".join(replace_surrogates(message).split())[:300]
        return ChatError(name, text, retry_after=retry_after, rates=rates)


def body(request: ChatRequest, refused: Container[str] = ()) -> dict[str, Any]:
    """The JSON of a request, without the parameters that the model has refused."""
    sampling = request.sampling
    content: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
    }
    for name in ("temperature", "top_p"):
        value = getattr(sampling, name)
        if name not in refused or value != 1.0:
            content[name] = value
    content["max_completion_tokens" if "max_tokens" in refused else "max_tokens"] = sampling.max_tokens
    if sampling.seed is not None:
        content["seed"] = sampling.seed
    return content | sampling.extra


def dispensable(told: object, request: ChatRequest) -> str:
    """The parameter that an error's body refuses, where the request says the same without it; else ""."""
    inner = told.get("error", told) if isinstance(told, Mapping) else told
    if not isinstance(inner, Mapping):
        return ""
    parameter, message = inner.get("param"), str(inner.get("message"))
    if not isinstance(parameter, str):
        parameter = next((name for name in ("max_tokens", "top_p", "temperature") if f"'{name}'" in message), "")
    match parameter:
        case "max_tokens" if "max_completion_tokens" in message:
            return parameter
        case "top_p" | "temperature" if getattr(request.sampling, parameter) == 1.0:
            return parameter
    return ""


def parse(content: bytes, *, latency_s: float, rates: RateHeaders | None = None) -> ChatResponse:
    """The answer in a chat completion. Raises ValueError where `content` is none."""
    try:
        answer = loads(content)
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage")
        text = message.get("content") or message.get("refusal") or ""
        input_tokens, output_tokens = _counted(usage, text)
        return ChatResponse(
            text=replace_surrogates(text),
            finish_reason=replace_surrogates(choice.get("finish_reason") or "unknown"),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            latency_s=latency_s,
            rates=rates,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # Whole, since half a key cannot be masked; it is cut afterwards.
        raise ValueError(f"not a chat completion ({error!r}): {content!r}") from error


def _counted(usage: Any, text: str) -> tuple[int, int]:
    """(input, output) tokens, or (0, 0) where either makes no sense: the answer is paid for and good all the same."""
    if not isinstance(usage, Mapping):
        return 0, 0
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(read) is int and type(written) is int and 0 <= read <= MAX_CAP and bool(text) <= written <= MAX_CAP:
        return read, written
    return 0, 0


def _told(content: bytes) -> object:
    """The body of an error: its JSON, or its text."""
    try:
        return loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def _message(told: object) -> str:
    """What of an error's body a person should read."""
    inner = told.get("error", told) if isinstance(told, Mapping) else told
    if isinstance(inner, Mapping):
        inner = inner.get("message") or inner.get("detail") or json.dumps(inner)
    return str(inner) or "an empty body"


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the response's headers ask to wait, None where they do not. `now` is Unix time."""
    if milliseconds := _number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        return seconds
    date = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(date) - now) if date else None


def rate_headers(headers: Mapping[str, str]) -> RateHeaders | None:
    """What the `x-ratelimit-*` headers of OpenAI and its like say, None where there are none."""
    told: dict[str, float] = {}
    for name, (field, read) in _RATES.items():
        if (text := headers.get(name)) is not None and (value := read(text)) is not None:
            told[field] = value
    return RateHeaders(**told) if told else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d+)?)(ms|d|h|m|s)"


def _seconds(value: str | None) -> float | None:
    """A duration as `6m0s`, `120ms`, `1h2m3.5s`, or in plain seconds."""
    if value and re.fullmatch(f"(?:{_PART})+", value):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, value))
    return _number(value)


_RATES = {
    f"x-ratelimit-{part}-{unit}": (f"{unit}_{field}", read)
    for unit in ("requests", "tokens")
    for part, field, read in (
        ("limit", "limit", _number),
        ("remaining", "remaining", _number),
        ("reset", "reset_s", _seconds),
    )
}
