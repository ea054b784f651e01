"""The key of a request: the digest under which its response is recorded and found again, for years.

A key is the BLAKE2b of two parts with a line end between them, each of them canonical JSON in ASCII:

1. the prefix: everything but the messages. The requests of one teacher share it.
2. the messages. All teachers that are asked the same question share them.

The parts can be made separately, because a run makes a million keys within seconds (`chat.questions`) and `cost`
compares the same prompts under several teachers.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable

import orjson

from orcac.chat.settings import Sampling, SystemRole

KEY_VERSION = 2  # the version of these rules; raise it if the same request would get another key


def key_prefix(*, model: str, sampling: Sampling, origin: str, sample_index: int) -> bytes:
    """Return the part of the key's content that holds everything but the messages.

    `sampling.max_tokens` is left out: an answer that ended by itself is also the answer under any larger cap.
    """
    return _key_prefix(model, sampling.model_dump_json(exclude={"max_tokens"}), origin, sample_index)


@functools.lru_cache(maxsize=256)
def _key_prefix(model: str, sampling: str, origin: str, sample_index: int) -> bytes:
    content = {
        "version": KEY_VERSION,
        "model": model,
        "sampling": json.loads(sampling),
        "origin": origin,
        "sample_index": sample_index,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def messages_json(messages: Iterable[tuple[str, str]]) -> bytes:
    """Return (role, content) pairs as the part of the key's content that holds the messages."""
    return b"[%b]" % b",".join([b"[%b,%b]" % (_ascii_json(role), _ascii_json(content)) for role, content in messages])


def conversation_json(*, system: str, user: str, system_role: SystemRole = "system") -> bytes:
    """Return `messages_json(conversation(...))` of these texts without making the messages."""
    if system and system_role == "none":
        system, user = "", fold_system(system=system, user=user)
    turn = b'["user",' + _ascii_json(user) + b"]]"
    return b'[["%b",' % system_role.encode() + _ascii_json(system) + b"]," + turn if system else b"[" + turn


def fold_system(*, system: str, user: str) -> str:
    """Return the turn of the user that begins with a system message, for a model without a role for it."""
    return f"{system}\n\n{user}"


def key_digest(prefix: bytes, messages: bytes) -> bytes:
    """Return the key, 16 bytes, of the request with these two parts."""
    return hashlib.blake2b(b"%b\n%b" % (prefix, messages), digest_size=16).digest()


def _ascii_json(text: str) -> bytes:
    """Encode a text as JSON in ASCII. orjson does so faster, but gives the same bytes only for ASCII without DEL."""
    if text.isascii() and "\x7f" not in text:
        return orjson.dumps(text)
    return json.encoder.encode_basestring_ascii(text).encode()
