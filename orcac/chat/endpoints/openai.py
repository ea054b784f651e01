"""Any server of chat completions (OpenAI, Azure, vLLM, SGLang, Ollama, the embedded teacher), as an endpoint.

The `openai` package determines the address and headers: it writes one request, which is not sent, and every request
then uses its address and headers. So the package's configuration and environment variables work as documented, Azure's
addresses included.
Requests are sent by aiohttp over connections that are kept open: the package's own transport costs ten times the CPU
and caps the rate of one process (docs/decisions.md). Retries are the engine's decision.

- A response is bounded: its body also after decompression (`body`), its headers by aiohttp, and all of it in time.
- A redirect is not followed: it would carry the key to an address that no user wrote down.
- The environment's proxy is looked up once, and never used for this machine.
- Some models refuse a parameter that can be left out (top_p and temperature of 1) or have another name for it
  (max_tokens). They get the request again without it, and all later requests as well; a refusal is not billed.
- With `may_omit`, a model that refuses a decoding setting, such as any temperature but 1, is asked without it in the
  same way. Its responses name the settings that were left out.

The API key is read from the environment when the endpoint opens. It goes into the request's header and nowhere else: a
message of the server or of an exception that repeats it is masked before it becomes an error. The same holds for the
values of the endpoint's further headers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from orcac.chat.endpoints.body import ENCODINGS, UnboundedBody, read_bounded
from orcac.chat.endpoints.client import NO_KEY, make_client
from orcac.chat.endpoints.completions import (
    build_body,
    error_message,
    find_dispensable,
    find_omitted,
    parse_error_body,
    parse_rate_headers,
    parse_retry_after,
)
from orcac.chat.endpoints.environment import check_address, find_proxy, read_headers
from orcac.chat.endpoints.reader import Unanswered, read_content
from orcac.chat.error_body import read_error
from orcac.chat.failures import ERRORS, Action, ChatError, classify, refused_setting
from orcac.chat.messages import ChatRequest, ChatResponse, RateHeaders
from orcac.chat.settings import EndpointSettings
from orcac.chat.wire import dumps, replace_surrogates

if TYPE_CHECKING:
    import aiohttp
    import yarl
    from openai import AsyncOpenAI

_CONNECT_S = 10.0  # a server that has not accepted a connection by then is taken to be absent
_IDLE_S = 4.0  # an idle connection is closed then, before uvicorn (vLLM) closes it after 5
# The package's headers that belong to its own connection, or describe how it sends and retries.
_PACKAGE_HEADERS = ("host", "connection", "content-length", "accept-encoding", "x-stainless-")
_PUBLIC_HEADERS = ("accept", "content-type", "user-agent", "openai-")  # their values are not secret
_OPENAI_HOSTS = ("api.openai.com", ".azure.com")  # the servers of OpenAI's own models
_SECRET_CHARACTERS = 8  # a shorter value of a header is not a secret, unless it is the key


@asynccontextmanager
async def connect(settings: EndpointSettings) -> AsyncIterator[OpenAIEndpoint]:
    """Yield the endpoint of `settings`. Raises EndpointError as `make_client` does."""
    async with (
        make_client(settings) as client,
        _open(
            client,
            timeout_s=settings.timeout_seconds,
            may_omit=settings.may_omit,
            secrets=read_headers(settings).values(),
        ) as endpoint,
    ):
        yield endpoint


@asynccontextmanager
async def connect_to(base_url: str, *, timeout_s: float, key: str = NO_KEY) -> AsyncIterator[OpenAIEndpoint]:
    """Yield the endpoint at `base_url`, with this key and none of the environment.

    Raises EndpointError if it is not a web address.
    """
    from openai import AsyncOpenAI  # 0.5 s, which only a run that asks should spend

    check_address(base_url)
    async with (
        AsyncOpenAI(base_url=base_url, api_key=key) as client,
        _open(client, timeout_s=timeout_s) as endpoint,
    ):
        yield endpoint


@asynccontextmanager
async def _open(
    client: AsyncOpenAI, *, timeout_s: float, may_omit: bool = False, secrets: Iterable[str] = ()
) -> AsyncIterator[OpenAIEndpoint]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S)  # the engine bounds the requests in flight
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(_CONNECT_S, timeout_s))
    proxy, cookies = find_proxy(str(client.base_url)), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        proxy=proxy,
        cookie_jar=cookies,
        headers={"Accept-Encoding": ENCODINGS},
        auto_decompress=False,  # `read_bounded` does it
    ) as session:
        yield OpenAIEndpoint(client, session, timeout_s=timeout_s, may_omit=may_omit, proxy=proxy, secrets=secrets)


class _RequestWritten(Exception):
    """The signal that ends the package's call once it has written its request."""


class _ParameterRefused(Exception):
    """The server refuses a parameter that the request can do without; `error` is the refusal."""

    def __init__(self, parameter: str, error: ChatError) -> None:
        super().__init__(parameter)
        self.parameter, self.error = parameter, error


class OpenAIEndpoint:
    """An endpoint with one session of kept connections. `label` is its address, without a password."""

    def __init__(
        self,
        client: AsyncOpenAI,
        session: aiohttp.ClientSession,
        *,
        timeout_s: float,
        may_omit: bool = False,
        proxy: str | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._client, self._session, self._timeout_s, self._may_omit = client, session, timeout_s, may_omit
        self._urls: dict[str, yarl.URL] = {}  # by model, which is part of Azure's addresses
        self._finding_url = asyncio.Lock()
        self._refused: dict[str, frozenset[str]] = {}  # by model: parameters
        self._secrets = {
            password for url in (str(client.base_url), proxy or "") if (password := urlsplit(url).password)
        }
        for secret in (client.api_key, *secrets):
            self._add_secret(secret)
        self.label = str(client.base_url.copy_with(userinfo=b""))
        self._is_openai = (client.base_url.host or "").endswith(_OPENAI_HOSTS)

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Make one attempt. Raises ChatError, of the class that `classify` finds, if there is no answer."""
        while True:
            refused = self._refused.get(request.model, frozenset())
            try:
                response = await self._send(request, refused)
                response.omitted = find_omitted(request, refused) if self._may_omit else ()
                return response
            except _ParameterRefused as error:
                if error.parameter in refused:
                    raise error.error from None
                self._refused[request.model] = self._refused.get(request.model, frozenset()) | {error.parameter}

    async def _send(self, request: ChatRequest, refused: frozenset[str]) -> ChatResponse:
        """Send a request without the `refused` parameters. Raises ChatError or _ParameterRefused."""
        import aiohttp

        start = time.perf_counter()
        try:
            url = self._urls.get(request.model)
            if url is None:
                async with self._finding_url:  # only once: it takes the package as long as a hundred requests
                    url = self._urls.get(request.model) or await self._find_url(request.model)
            payload = aiohttp.BytesPayload(dumps(self._build_body(request, refused)))
            response = await self._session.post(url, data=payload, allow_redirects=False)
            content = await read_bounded(response)
            status, headers = response.status, response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise self._make_error(classify(None, exception=ConnectionRefusedError()), str(error)) from None
        except TimeoutError:
            name = classify(None, exception=TimeoutError())
            raise self._make_error(name, f"no answer in {self._timeout_s:g} s") from None
        except aiohttp.ClientResponseError as error:  # the response is not HTTP
            raise self._make_error(classify(None, exception=ValueError()), str(error)) from None
        except UnboundedBody as error:
            raise self._make_error("malformed", str(error)) from None
        except (ValueError, TypeError) as error:  # of an address, a header or a body
            raise self._make_error("unsendable", str(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            text = str(error) or type(error).__name__
            raise self._make_error(classify(None, exception=ConnectionError()), text) from None
        rates = parse_rate_headers(headers)
        if not 200 <= status < 300:
            error_body, wait = parse_error_body(content), parse_retry_after(headers, now=time.time())
            name, message = classify(status, error_body, retry_after=wait), error_message(error_body)
            message += f", to {headers.get('location')}" if status < 400 else ""
        else:
            try:
                latency_s = time.perf_counter() - start
                return read_content(content, cap=request.sampling.max_tokens, latency_s=latency_s, rates=rates)
            except Unanswered as error:
                name, message, error_body = error.error, str(error), error.body
                wait = parse_retry_after(headers, now=time.time())
            except ValueError as error:
                raise self._make_error(classify(None, exception=error), str(error), rates=rates) from None
        if wait is None and ERRORS[name].action in (Action.SLOW_DOWN, Action.RETRY):
            wait = read_error(error_body).wait_s  # the words of a refusal may repeat those of the question
        # A request that is too large may be asked to wait for a day; the other requests need not wait.
        failed = self._make_error(
            name,
            f"HTTP {status}: {message}",
            None if name == "too_large" else wait,
            rates,
            refused_setting(error_body),
        )
        parameter = find_dispensable(error_body, request, may_omit=self._may_omit) if name == "unsupported" else ""
        if parameter:
            raise _ParameterRefused(parameter, failed)
        raise failed

    def _build_body(self, request: ChatRequest, refused: frozenset[str]) -> dict[str, object]:
        return build_body(request, refused, may_omit=self._may_omit, is_openai=self._is_openai)

    async def _find_url(self, model: str) -> yarl.URL:
        """Return the address to which the package would send a request for `model`; give the session its headers.

        Raises ValueError if the package cannot write such a request.
        """
        import openai
        import yarl

        written: list[Any] = []  # of httpx or httpx2, by the package's version

        class Recorder(openai.DefaultAsyncHttpxClient):
            async def send(self, request: object, **_: object) -> NoReturn:
                written.append(request)
                raise _RequestWritten

        try:
            async with Recorder(trust_env=False) as http:
                await self._client.with_options(http_client=http).chat.completions.create(model=model, messages=[])
        except (_RequestWritten, openai.OpenAIError) as error:
            if not written:
                raise ValueError(str(error)) from None
        request = written[0]
        headers = {
            name: value for name, value in request.headers.items() if not name.lower().startswith(_PACKAGE_HEADERS)
        }
        url = request.url
        if url.userinfo:  # it replaces the key, as in other HTTP clients
            from aiohttp import BasicAuth

            headers["authorization"] = BasicAuth(url.username, url.password).encode()
            url = url.copy_with(userinfo=b"")
        for name, value in headers.items():
            if not name.lower().startswith(_PUBLIC_HEADERS):
                self._add_secret(value.rpartition(" ")[2], header=name)
        self._session.headers.update(headers)  # they are the same for every model
        self._urls[model] = target = yarl.URL(str(url))
        return target

    def _add_secret(self, secret: str | None, *, header: str = "authorization") -> None:
        """Mask `secret` in messages from now on, unless it is the short value of a header that holds no key."""
        holds_key = header.lower().endswith(("authorization", "api-key"))
        if secret and secret != NO_KEY and (holds_key or len(secret) >= _SECRET_CHARACTERS):
            self._secrets |= {secret, repr(secret)[1:-1]}  # as it is, and as exceptions quote it

    def _make_error(
        self,
        name: str,
        message: str,
        retry_after: float | None = None,
        rates: RateHeaders | None = None,
        setting: str = "",
    ) -> ChatError:
        """Return the error of class `name` with a message of 300 characters at most, without any secret."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            message = message.replace(secret, "***")
        text = " ".join(replace_surrogates(message).split())[:300]
        return ChatError(name, text, retry_after=retry_after, rates=rates, setting=setting)
