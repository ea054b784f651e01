"""A request to a model and its response, as values.

A `ChatRequest` holds everything that determines an answer and nothing else, so its `key` is the only name that the
answer has, in memory and on disk. The address of the model, the rate at which it may be asked and the file or row that
a prompt came from are not part of the key, so a change of them never makes a run pay for an answer twice.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

from orcac.chat import keys
from orcac.chat.keys import fold_system
from orcac.chat.settings import Price, Sampling, SystemRole
from orcac.reasoning import has_marks, join_reasoning, split_reasoning

MAX_CAP = 2**31 - 1  # the largest max_tokens that a request can have


class Message(NamedTuple):
    """One message of a conversation."""

    role: str  # "system", "developer", "user" or "assistant"
    content: str


def conversation(*, system: str, user: str, system_role: SystemRole = "system") -> tuple[Message, ...]:
    """Return the messages of one user turn; an empty system message is left out.

    `system_role` is the role under which the system message is sent; with "none" it opens the user's turn.
    """
    if not system:
        return (Message("user", user),)
    if system_role == "none":
        return (Message("user", fold_system(system=system, user=user)),)
    return Message(system_role, system), Message("user", user)


class Billable(Protocol):
    """The facts of a response that decide its cost. A `ChatResponse` has them, and so has the ledger's index."""

    @property
    def error(self) -> str: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def batched(self) -> bool: ...


@dataclasses.dataclass(slots=True, kw_only=True)  # never changed; not frozen, since that triples the time to make one
class ChatRequest:
    """One chat call.

    `origin` is the kind of answerer: `api`, `replay`, or the embedded teacher with its version. `sample_index`
    distinguishes several draws of the same question.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    origin: str
    sample_index: int = 0
    _key: str = dataclasses.field(default="", init=False, repr=False, compare=False)  # computed on first use

    @property
    def key(self) -> str:
        """The digest of all fields except `sampling.max_tokens` (`chat.keys`), as 32 hex digits.

        A record stores the caps that it serves beside its key (`served_caps`).
        """
        if not self._key:
            self.set_key(keys.key_digest(self.key_prefix, keys.messages_json(self.messages)))
        return self._key

    @property
    def key_prefix(self) -> bytes:
        """The part of the key's content that all requests with the same fields but other messages share."""
        return keys.key_prefix(
            model=self.model, sampling=self.sampling, origin=self.origin, sample_index=self.sample_index
        )

    def key_prefixes(self, samples: int) -> list[bytes]:
        """Return the `key_prefix` of this sample and of the `samples - 1` that follow it."""
        numbers = range(self.sample_index, self.sample_index + samples)
        return [dataclasses.replace(self, sample_index=number).key_prefix for number in numbers]

    def set_key(self, key: bytes) -> None:
        """Set the key (16 bytes) of a request that was computed before, so that it is not computed again."""
        self._key = key.hex()

    @property
    def input_token_bound(self) -> int:
        """An upper bound of the input's tokens: one per UTF-8 byte, and 16 per message for its frame."""
        bound = 0
        for _, text in self.messages:
            bound += 16 + len(text if text.isascii() else text.encode())
        return bound

    def usd_bound(self, price: Price) -> float:
        """Return the highest possible cost of this request, in USD."""
        return usd(price, input_tokens=self.input_token_bound, output_tokens=self.sampling.max_tokens)

    def usd_of(self, response: Billable, price: Price) -> float:
        """Return the cost of `response` in USD: 0 for a failure, and `usd_bound` if the server counted no tokens."""
        if response.error:
            return 0.0
        share = price.batch if response.batched else 1.0
        if not response.input_tokens and not response.output_tokens:
            return self.usd_bound(price) * share
        return usd(price, input_tokens=response.input_tokens, output_tokens=response.output_tokens) * share


@dataclasses.dataclass(slots=True, kw_only=True)  # not frozen, for the same reason as ChatRequest
class ChatResponse:
    """An answer, or the typed failure in place of one (`error` is a class of `failures.ERRORS`)."""

    text: str = ""
    reasoning: str = ""  # the model's reasoning before its answer
    refusal: str = ""  # the model's own words, where the server marks them as a refusal; `text` is then empty
    finish_reason: str = ""
    input_tokens: int = 0  # as the server counted them; 0 if it did not
    output_tokens: int = 0
    latency_s: float = 0.0
    error: str = ""
    batched: bool = False  # it came from a batch, which has a price of its own
    omitted: tuple[str, ...] = ()  # the request's decoding settings that the model refused: it answered without them
    # the rate limits that arrived with the response; they are not part of it, so neither compared nor recorded
    rates: RateHeaders | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RateHeaders:
    """The account's rate limits, as a response's headers state them; None for each that they do not state.

    `*_limit` is the allowance per minute, `*_remaining` the part of it that is left now, and `*_reset_s` the seconds
    until all of it is available again.
    """

    requests_limit: float | None = None
    requests_remaining: float | None = None
    requests_reset_s: float | None = None
    tokens_limit: float | None = None
    tokens_remaining: float | None = None
    tokens_reset_s: float | None = None


def separate_reasoning(response: ChatResponse) -> ChatResponse:
    """Return the response with the reasoning that is marked in its text moved to `reasoning`.

    A response that has reasoning and no answer was cut off, whatever the server calls it.
    """
    if has_marks(response.text):
        reasoning, response.text = split_reasoning(response.text)
        if reasoning not in response.reasoning:  # some servers send it twice
            response.reasoning = join_reasoning((response.reasoning, reasoning))
    if response.reasoning and not (response.text or response.refusal) and response.finish_reason == "stop":
        response.finish_reason = "length"
    return response


def _is_all_reasoning(response: ChatResponse) -> bool:
    """Return whether `separate_reasoning` finds reasoning and no answer in a response."""
    if response.refusal or (response.text and not has_marks(response.text)):
        return False
    reasoning, answer = split_reasoning(response.text)
    return not answer and bool(reasoning or response.reasoning)


def served_caps(cap: int, response: ChatResponse) -> tuple[int, int]:
    """Return the (smallest, largest) max_tokens of the requests that `response`, received under `cap`, settles.

    An answer that ended by itself is the answer under every cap that is long enough for it. An answer that was cut off,
    or is all reasoning, serves its own cap alone, since a smaller cap would have made it shorter. A request that
    overflows the context under a cap also does so under a larger one.
    """
    match response.error, response.finish_reason:
        case "context_overflow", _:
            return cap, MAX_CAP
        case "", "length":
            return cap, cap
        case "", "stop" if _is_all_reasoning(response):
            return cap, cap
        case "", _:
            return min(cap, response.output_tokens or cap), MAX_CAP
    return 0, MAX_CAP


def usd(price: Price, *, input_tokens: int, output_tokens: int) -> float:
    """Return the cost of these tokens in USD."""
    return (input_tokens * price.input + output_tokens * price.output) / 1e6
