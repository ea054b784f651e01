"""What is asked of a model, what comes back, and what an error means for the work that is left.

A `ChatRequest` holds everything that determines an answer and nothing else; its `key` is the one name that
an answer goes by, in memory and on disk, whatever the cap on its length. Where a model is served, how fast it may be
asked, in which file or row a prompt stood: none of it is in the key, so none of it can make an answer be paid for
twice.

Errors are a small set of named classes (`ERRORS`). Servers word theirs in many ways; `classify` is the only
place that reads those words, and everything else looks at the class alone.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
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


def dollars(amount: float) -> str:
    """For people: cents from one dollar up, two digits that count below."""
    return f"{amount:,.2f} USD" if amount >= 1 or amount == 0 else f"{amount:.2g} USD"


def usd(price: Price, *, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost, in USD."""
    return (input_tokens * price.input + output_tokens * price.output) / 1e6


class Action(enum.Enum):
    """What an error means for the request that met it, and for the rest."""

    RETRY = "retry"  # try this request again; it has a number of attempts
    SLOW_DOWN = "slow down"  # everyone is too fast: try again for as long as answers keep coming
    GIVE_UP = "give up"  # this request can never be answered: its failure is final, and is a row
    STOP = "stop"  # no request can be answered until a person mends something


class ErrorClass(NamedTuple):
    action: Action
    may_be_billed: bool = False  # the model may have answered, though the answer did not arrive
    azure_bills: bool = False  # Azure asks for money all the same
    passes: bool = False  # it may be everybody's for a while, as of a server that starts anew
    kept: bool = False  # says something of the request and not of the server: the ledger may keep it like an answer
    attempts: int | None = None  # of this class, where it is worth fewer than the endpoint's
    fix: str = ""  # for a person; {key} is the name of the environment variable with the API key

    def bills(self, *, azure: bool) -> bool:
        """Whether such a failure may cost as much as an answer."""
        return self.may_be_billed or (azure and self.azure_bills)


ERRORS: Mapping[str, ErrorClass] = {
    "unreachable": ErrorClass(Action.RETRY, passes=True, fix="start the server, or correct the endpoint's base_url"),
    "dropped": ErrorClass(Action.RETRY, may_be_billed=True, fix="see the server's log"),
    "timeout": ErrorClass(Action.RETRY, may_be_billed=True, attempts=4, fix="raise timeout_seconds"),
    "malformed": ErrorClass(Action.RETRY, may_be_billed=True, attempts=4, fix="check what base_url serves"),
    "server": ErrorClass(Action.RETRY, passes=True, fix="see the server's log or the provider's status page"),
    "too_large": ErrorClass(Action.RETRY, fix="lower max_tokens: a request is over the account's limit"),
    "rate_limit": ErrorClass(Action.SLOW_DOWN, fix="set requests_per_minute as the account allows"),
    "bad_request": ErrorClass(Action.GIVE_UP, fix="change the teacher's sampling, or mend the server"),
    "content_filter": ErrorClass(
        Action.GIVE_UP, kept=True, azure_bills=True, fix="see which filter the provider has on"
    ),
    "context_overflow": ErrorClass(
        Action.GIVE_UP, kept=True, azure_bills=True, fix="lower max_tokens, or serve the model with a longer context"
    ),
    "not_recorded": ErrorClass(Action.GIVE_UP),
    "not_answered": ErrorClass(Action.GIVE_UP, fix="say `mode: auto`, so that what batches leave is asked online"),
    "auth": ErrorClass(Action.STOP, fix="put a valid API key in the environment variable {key}"),
    "forbidden": ErrorClass(Action.STOP, fix="give the key in {key} access to this model and region"),
    "quota": ErrorClass(Action.STOP, fix="add credit to the account of the key in {key}"),
    "not_found": ErrorClass(Action.STOP, fix="correct the teacher's model or the endpoint's base_url"),
    "unsupported": ErrorClass(Action.STOP, fix="change the teacher's sampling to what the model accepts"),
    "unsendable": ErrorClass(
        Action.STOP, fix="write base_url with http:// or https://, and check the OPENAI_ variables of the environment"
    ),
}


class ChatError(Exception):
    """What an endpoint raises when a request got no answer. Its text never holds an API key."""

    def __init__(
        self, error: str, message: str, *, retry_after: float | None = None, rates: RateHeaders | None = None
    ) -> None:
        assert error in ERRORS, error
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after  # seconds that the server asks everyone to wait
        self.rates = rates


_BY_CODE = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "invalid_api_key": "auth",
    "model_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "operationnotsupported": "not_found",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "invalid_prompt": "content_filter",
    "context_length_exceeded": "context_overflow",
    "string_above_max_length": "context_overflow",
    "exceed_context_size_error": "context_overflow",
    "unsupported_parameter": "unsupported",
    "unsupported_value": "unsupported",
    "unknown_parameter": "unsupported",
    "slow_down": "rate_limit",
}
_BY_STATUS = {
    401: "auth",
    402: "quota",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "server",
    425: "server",
    429: "rate_limit",
    504: "timeout",  # of a gateway: the model may have answered
    524: "timeout",
}
_BAD = (400, 413, 422)
# Where no code tells: words of the message, lower-cased, and the statuses with which they mean the class.
_BY_WORDS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("exceeded your current quota", (429,), "quota"),
    ("out of call volume quota", (403,), "quota"),
    ("request too large", (429,), "too_large"),
    ("retry after 86400 seconds", (429,), "too_large"),  # Azure's word for what fits into no minute
    ("context length", _BAD, "context_overflow"),
    ("context window", _BAD, "context_overflow"),
    ("maximum model length", _BAD, "context_overflow"),
    ("max_model_len", _BAD, "context_overflow"),
    ("must be at least 1, got -", _BAD, "context_overflow"),  # vLLM, of what the prompt leaves for the answer
    ("`inputs` tokens +", _BAD, "context_overflow"),
    ("content management policy", _BAD, "content_filter"),
    ("unrecognized request argument", _BAD, "unsupported"),
    ("unsupported parameter", _BAD, "unsupported"),
    ("supports at most", _BAD, "unsupported"),
    ("api version not supported", _BAD, "not_found"),
    ("maximum pending requests", (503,), "rate_limit"),
    ("queue is full", (503,), "rate_limit"),
)


def classify(status: int | None, body: object = None, exception: Exception | None = None) -> str:
    """The error class of a failed call, a name in `ERRORS`.

    `status` and `body` are the HTTP response's (the parsed JSON, with or without its outer `error`, or text).
    Without a status, `exception` tells what went wrong: TimeoutError; ConnectionRefusedError when nothing was
    sent; ConnectionError when the connection broke; ValueError when the answer made no sense.
    """
    if status is None:
        match exception:
            case TimeoutError():
                return "timeout"
            case ConnectionRefusedError():
                return "unreachable"
            case ConnectionError():
                return "dropped"
            case ValueError():
                return "malformed"
        raise AssertionError(f"not a transport error: {exception!r}")
    code, message = _code_and_message(body)
    if code:
        return _BY_CODE[code]
    for words, statuses, name in _BY_WORDS:
        if status in statuses and words in message:
            return name
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:  # it sends us elsewhere
        return "not_found"
    return "server" if status >= 500 else "bad_request"


def _code_and_message(body: object) -> tuple[str, str]:
    """The lower-cased `code` (or type) that we know and the message of an error body; "" where it has none."""
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | str):
        body = body["error"]
    if isinstance(body, Mapping):
        codes = [str(body.get(name) or "").lower() for name in ("code", "type")]
        message = str(body.get("message") or body.get("detail") or "").lower()
        return next((code for code in codes if code in _BY_CODE), ""), message
    return "", str(body or "").lower()
