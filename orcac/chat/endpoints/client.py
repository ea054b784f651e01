"""The `openai` package's client for an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcac.chat.address import is_loopback
from orcac.chat.endpoints.environment import AD_TOKEN, read_environment, read_headers
from orcac.chat.settings import EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NO_KEY = "none"  # sent to a local server that needs no key


def make_client(settings: EndpointSettings) -> AsyncOpenAI:
    """Return the `openai` package's client for `settings`, or its client for Azure. It never retries.

    Raises EndpointError if a required key or address is missing, or if the key, the address, a header or the proxy
    cannot be used.
    """
    name, key, address = read_environment(settings)
    headers = read_headers(settings)

    from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

    http = DefaultAsyncHttpxClient(trust_env=False) if is_loopback(address or "") else None  # no proxy for this machine
    timeout_s = settings.timeout_seconds
    if settings.azure:
        assert address
        return AsyncAzureOpenAI(
            azure_endpoint=address,
            azure_deployment=settings.azure.deployment,
            api_version=settings.azure.api_version,
            api_key=None if name == AD_TOKEN else key,
            azure_ad_token=key if name == AD_TOKEN else None,
            default_headers=headers,
            max_retries=0,
            timeout=timeout_s,
            http_client=http,
        )
    return AsyncOpenAI(
        base_url=settings.base_url,
        api_key=key or NO_KEY,
        default_headers=headers,
        max_retries=0,
        timeout=timeout_s,
        http_client=http,
    )
