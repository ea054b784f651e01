"""A request to a model and its response, as values, and the key under which a response is recorded.

A `ChatRequest` holds everything that determines an answer and nothing else; its `key` is the one name that
an answer goes by, in memory and on disk, whatever the cap on its length. Where a model is served, how fast it may be
asked, in which file or row a prompt stood: none of it is in the key, so none of it can make an answer be paid for
twice.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import orjson

from orcac.chat.settings import Price, Sampling

KEY_VERSION = 2  # the rule of `ChatRequest.key`; raise it when the same request would get another key


ANY_CAP = 2**31 - 1  # a max_tokens that no request exceeds


class Message(NamedTuple):
    role: str  # "system", "user" or "assistant"
    content: str


def conversation(*, system: str, user: str) -> tuple[Message, ...]:
    """One user turn. An empty system message is not sent at all."""
    turn = Message("user", user)
    return (Message("system", system), turn) if system else (turn,)


class Settled(Protocol):
    """What is known of a settled request without its text: a response, or the index's word of one."""

    @property
    def error(self) -> str: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def batched(self) -> bool: ...


@dataclasses.dataclass(slots=True, kw_only=True)  # nobody changes one; frozen, it takes three times as long to make
class ChatRequest:
    """One chat call, as values.

    `origin` says who answers where the model's name does not: `api`, `replay`, or the embedded teacher with
    its version. `sample_index` tells apart several draws of one question.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    origin: str
    sample_index: int = 0
    _key: str = dataclasses.field(default="", init=False, repr=False, compare=False)  # once it was made

    @property
    def key(self) -> str:
        """32 hex digits: the digest of all fields but the cap, under `KEY_VERSION`.

        `sampling.max_tokens` is left out, since an answer that ended by itself is the answer under any larger cap, too.
        Which caps a record serves stands beside its key (see `served_caps`).
        """
        if not self._key:
            self.know_key(digest(key_head(self), self.messages))
        return self._key

    def know_key(self, key: bytes) -> None:
        """Spare making the key again, where it was made before."""
        self._key = key.hex()

    @property
    def input_token_bound(self) -> int:
        """No tokenizer makes more tokens of the input: one a byte, and 16 a message for its frame."""
        bound = 0
        for _, text in self.messages:
            bound += 16 + len(text if text.isascii() else text.encode())
        return bound

    def usd_bound(self, price: Price) -> float:
        """The most that this request can cost, in USD."""
        return usd(price, input_tokens=self.input_token_bound, output_tokens=self.sampling.max_tokens)

    def usd_of(self, response: Settled, price: Price) -> float:
        """What `response` cost, in USD: its tokens, or the bound where the server counted none. A failure is free."""
        if response.error:
            return 0.0
        share = price.batch if response.batched else 1.0
        if not response.input_tokens and not response.output_tokens:
            return self.usd_bound(price) * share
        return usd(price, input_tokens=response.input_tokens, output_tokens=response.output_tokens) * share


def key_head(request: ChatRequest) -> bytes:
    """The part of a key's content that the requests of one teacher share: all but the messages, as canonical JSON."""
    sampling = request.sampling.model_dump_json(exclude={"max_tokens"})
    return _key_head(request.model, sampling, request.origin, request.sample_index)


@functools.lru_cache(maxsize=256)
def _key_head(model: str, sampling: str, origin: str, sample_index: int) -> bytes:
    content = {
        "version": KEY_VERSION,
        "model": model,
        "sampling": json.loads(sampling),
        "origin": origin,
        "sample_index": sample_index,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(head: bytes, messages: Iterable[Message]) -> bytes:
    """The 16 bytes of the key of a request with this `key_head` and these messages.

    BLAKE2b of the head, a line end, and the messages as canonical JSON, in ASCII. In pieces, since a million keys are
    to be made in seconds.
    """
    return digest_of(head, key_tail(messages))


def key_tail(messages: Iterable[Message]) -> bytes:
    """The other part of a key's content, which all teachers that are asked the same share."""
    return b"[%b]" % b",".join([b"[%b,%b]" % (_quoted(role), _quoted(content)) for role, content in messages])


def turn_tail(*, system: str, user: str) -> bytes:
    """`key_tail` of a `conversation`, which need not be made for it."""
    turn = b'["user",' + _quoted(user) + b"]]"
    return b'[["system",' + _quoted(system) + b"]," + turn if system else b"[" + turn


def digest_of(head: bytes, tail: bytes) -> bytes:
    return hashlib.blake2b(b"%b\n%b" % (head, tail), digest_size=16).digest()


def _quoted(text: str) -> bytes:
    """A text as JSON in ASCII. Where it is ASCII, orjson does the same as the standard library, but for DEL."""
    if text.isascii() and "\x7f" not in text:
        return orjson.dumps(text)
    return json.encoder.encode_basestring_ascii(text).encode()


@dataclasses.dataclass(slots=True, kw_only=True)  # as above
class ChatResponse:
    """An answer, or the typed failure that stands in its place (`error` is a class of `ERRORS`)."""

    text: str = ""
    finish_reason: str = ""
    input_tokens: int = 0  # as the server counted them; 0 where it did not
    output_tokens: int = 0
    latency_s: float = 0.0
    error: str = ""
    batched: bool = False  # it came from a batch, which has a price of its own
    # what came with it and is no part of it: neither compared nor recorded
    rates: RateHeaders | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RateHeaders:
    """What a response's headers say of the account's rates. None where they say nothing.

    `*_limit` is a minute's allowance, `*_remaining` what is left of it now, `*_reset_s` the seconds until it is whole.
    """

    requests_limit: float | None = None
    requests_remaining: float | None = None
    requests_reset_s: float | None = None
    tokens_limit: float | None = None
    tokens_remaining: float | None = None
    tokens_reset_s: float | None = None


def served_caps(cap: int, response: ChatResponse) -> tuple[int, int]:
    """The smallest and the largest max_tokens of requests that `response`, got under max_tokens `cap`, settles.

    An answer that ended by itself is the answer under every cap that holds it; one that was cut off serves its own cap
    alone, since under a smaller one it would be shorter. What overflows the context under a cap does so under a larger
    one.
    """
    match response.error, response.finish_reason:
        case "context_overflow", _:
            return cap, ANY_CAP
        case "", "length":
            return cap, cap
        case "", _:
            return min(cap, response.output_tokens or cap), ANY_CAP
    return 0, ANY_CAP


def valid_unicode(text: str) -> str:
    """`text` with U+FFFD for half characters, which JSON can carry and UTF-8 files cannot."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def usd(price: Price, *, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost, in USD."""
    return (input_tokens * price.input + output_tokens * price.output) / 1e6
