"""Texts that are secret by their form or by the name of their key: they are refused in a spec, and masked in messages.

A spec is shared, printed and pinned, so a key belongs in an environment variable, which the spec names. Forms are those
of well-known providers; a key of another form is recognised where the name above it (`password`, `api_key`) tells.
"""

from __future__ import annotations

import re

__all__ = ["has_credentials", "has_key", "is_secret_name", "mask"]

# group 1 is the secret
_CREDENTIALS = (
    re.compile(r"https?://([^\s/?#@'\"]+)@", re.IGNORECASE),
    re.compile(r"://([^\s/?#@:'\"]*:(?!\d+[/?#])[^\s@'\"]*)@"),  # a number there is a port
)
_KEYS = (
    re.compile(r"(?<![\w-])(sk-[\w-]{16,})"),
    re.compile(r"(?<![\w-])((?:hf|gsk|ghp|gho|ghs)_[A-Za-z0-9]{16,}|github_pat_\w{16,})"),
    re.compile(r"(?<![\w-])((?:xai|nvapi|pplx|glpat|csk)-[\w-]{16,})"),
    re.compile(r"(?<![\w-])(AIza[\w-]{30,}|AKIA[0-9A-Z]{16})(?![\w-])"),
    re.compile(r"(?<![\w-])(eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)"),
    re.compile(r"\bBearer\s+(?=\S*\d)([\w.~+/=-]{8,})", re.IGNORECASE),
    re.compile(r"[?&](?:(?:api|access)?[-_]?key|token|access[-_]?token|secret|password|sig)=([^\s&#'\"]+)", re.I),
)
_WORDS = r"(?i:api[-_]?key|authorization|password|passwd|secret|credentials?|(?:access|auth|api|hf|bearer)[-_]?token)"
_VARIABLE = r"[\"']?[A-Z_][A-Z0-9_]*[\"']?(?:[\s,\]}]|$)"  # the name of one, which is not secret
_NAME = re.compile(rf"(?:\w+[-_])?(?:{_WORDS}|token|(?:secret|access|private)[-_]?key)", re.IGNORECASE)
_NAMED = re.compile(
    rf"\b(?:\w+[-_])?{_WORDS}[\"']?\s*:\s*(?!{_VARIABLE}|\.\.\.)(\"[^\"]*\"?|'[^']*'?|[^\s,\]}}][^,\]}}]*)"
)


def has_credentials(text: str) -> bool:
    """Return whether a text contains an address with a user name or a password."""
    return any(pattern.search(text) for pattern in _CREDENTIALS)


def has_key(text: str) -> bool:
    """Return whether a text contains a key or a token, by its form."""
    return any(pattern.search(text) for pattern in _KEYS)


def is_secret_name(name: str) -> bool:
    """Return whether a name of a key or a variable announces a secret, as `api_key` and `HF_TOKEN` do."""
    return bool(_NAME.fullmatch(name))


def mask(text: str) -> str:
    """Return a text of the same length with asterisks in place of each secret."""
    for pattern in (*_CREDENTIALS, *_KEYS, _NAMED):
        for match in pattern.finditer(text):
            start, end = match.span(1)
            text = text[:start] + "*" * (end - start) + text[end:]
    return text
