"""The address of a server (`base_url`): the mistakes that can be seen in it without asking the server."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Mistake", "find_mistake", "is_loopback", "lacks_path", "suggest_v1"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CALL = re.compile(r"/(?:chat/completions|completions|responses|embeddings|models)/*$")


class Mistake(NamedTuple):
    """The fault of an address, which the message names without a password, and its correction."""

    problem: str
    fix: str


def find_mistake(base_url: str) -> Mistake | None:
    """Return the mistake in an address; None if requests can be sent there."""
    if "?" in base_url or "#" in base_url:  # it is not shown, since the query may be a secret
        return Mistake(
            "base_url has a query or a fragment, to which no path can be appended",
            "remove the ? or # and the rest of the address after it; give Azure's `api_version` in `azure`, "
            "and the key in the environment",
        )
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and base_url.isprintable()
    except ValueError:  # a port that is not a number, or a bracket that is not closed
        is_address = False
    if not is_address or re.search(r"\s", base_url):
        shown = base_url.rpartition("@")[2]  # the part before it may be a password
        return Mistake(
            f"base_url is not a web address: {shown!r}",
            "write it with http:// or https:// in front and without white space, e.g. http://127.0.0.1:8000/v1",
        )
    if call := _CALL.search(base_url):
        return Mistake(
            f"base_url ends in {call[0]}, and each request would append such a path once more",
            f"write {_hide_user(base_url[: call.start()])}",
        )
    return None


def is_loopback(base_url: str) -> bool:
    """Return whether an address is on this machine."""
    return urlsplit(base_url).hostname in _LOOPBACK


def lacks_path(base_url: str) -> bool:
    """Return whether an address has a host and nothing after it; most servers answer under /v1."""
    return urlsplit(base_url).path in ("", "/")


def suggest_v1(base_url: str) -> str:
    """Return an address with /v1 at its end, without a password."""
    return _hide_user(base_url).rstrip("/") + "/v1"


def _hide_user(base_url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", base_url)
