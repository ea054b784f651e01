"""The key, the headers, the address and the proxy of an endpoint, from its settings and the environment."""

from __future__ import annotations

import os
import urllib.request
from urllib.parse import urlsplit

from orcac.chat.address import find_mistake, is_loopback
from orcac.chat.settings import OPENAI_URL, EndpointSettings
from orcac.errors import EndpointError

AD_TOKEN = "AZURE_OPENAI_AD_TOKEN"  # the `openai` package's name for a token of Entra ID


def read_environment(settings: EndpointSettings) -> tuple[str, str, str | None]:
    """Return the variable with the key, the key, "" if none is needed, and the address, None for OpenAI's own.

    Raises EndpointError if a required key or address is missing, or if the key, the address or the proxy cannot
    be used.
    """
    variable = "AZURE_OPENAI_ENDPOINT" if settings.azure else "OPENAI_BASE_URL"
    address = settings.base_url or os.environ.get(variable)
    name, key = find_key(settings)
    if not key and (settings.azure or not address):
        raise EndpointError(
            f"the environment variable {settings.api_key_env} holds no API key",
            fix=f"set {settings.api_key_env}"
            + (f", or {AD_TOKEN}" if settings.azure else ", or give the endpoint a base_url"),
        )
    if key[:1] in ("'", '"') or key.startswith("$"):
        raise EndpointError(
            f"the API key in the environment variable {name} begins with {key[0]}, which is no part of a key",
            fix=f"set {name} to the key alone, without quotes or the name of another variable",
        )
    if not all("!" <= character <= "~" for character in key):
        raise EndpointError(
            f"the API key in the environment variable {name} contains white space or characters other than printable "
            "ASCII",
            fix=f"set {name} to the key alone",
        )
    if settings.azure and not address:
        raise EndpointError(
            "the endpoint is on Azure and has no address",
            fix="give it the resource's base_url, https://NAME.openai.azure.com, or set AZURE_OPENAI_ENDPOINT",
        )
    if address:
        check_address(address)
    find_proxy(address or OPENAI_URL)
    return name, key, address


def find_key(settings: EndpointSettings) -> tuple[str, str]:
    """Return the name of the environment variable that holds the key, and its value, which is "" if it is not set.

    Azure also accepts a token of Entra ID, from a variable of its own.
    """
    for name in (settings.api_key_env, *([AD_TOKEN] if settings.azure else [])):
        if key := os.environ.get(name, "").strip():  # a key read from a file ends in a line end
            return name, key
    return settings.api_key_env, ""


def read_headers(settings: EndpointSettings) -> dict[str, str]:
    """Return the further headers of each request, with their values from the environment.

    Raises EndpointError if a variable is not set, or its value cannot be sent; the message does not repeat the value.
    """
    values = {}
    for header, variable in settings.headers.items():
        value = os.environ.get(variable, "").strip()
        if not value or not all(" " <= character <= "~" for character in value):
            problem = "contains line ends or characters other than printable ASCII" if value else "is not set"
            raise EndpointError(
                f"the environment variable {variable}, for the header {header}, {problem}",
                fix=f"set {variable}, or remove {header} from the endpoint's `headers`",
            )
        values[header] = value
    return values


def check_address(base_url: str) -> None:
    """Raise EndpointError if `base_url` is not the address of a web server, without a query or a fragment."""
    if mistake := find_mistake(base_url):
        raise EndpointError(mistake.problem, fix=mistake.fix)


def find_proxy(url: str) -> str | None:
    """Return the proxy that the environment sets for `url`, None without one or if `url` is on this machine.

    Raises EndpointError if it is not an HTTP proxy.
    """
    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if (kind := urlsplit(proxy).scheme) not in ("http", "https"):
        raise EndpointError(
            f"the environment sets a proxy for {parts.hostname} of the kind {kind!r}",
            fix=f"set {parts.scheme.upper()}_PROXY to an HTTP proxy, or NO_PROXY to {parts.hostname}",
        )
    return proxy
