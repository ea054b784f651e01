"""The settings of a chat call, as values. `Sampling` determines the answer; `EndpointSettings` does not."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from orcac.fields import Count, Number, Parameter, Reasoning, Share, Whole, execution, semantic
from orcac.recipe import Frozen

OPENAI_URL = "https://api.openai.com/v1"  # the openai package's default address


SystemRole = Literal["system", "developer", "user", "none"]


class Sampling(Frozen):
    """The decoding parameters that are sent with each request.

    A field of `_NEWER` is left out of keys and records while it is empty, so that an answer that was paid for before
    the field existed keeps its key.
    """

    temperature: Number = semantic("randomness of decoding, 0 is greedy; the paper's is 0.7", 1.0, ge=0, le=2)
    top_p: Number = semantic("probability mass of nucleus sampling; the paper's is 0.95", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("largest length of an answer", 1024, unit="tokens", le=2**31 - 1)
    seed: Whole | None = semantic("seed sent to the endpoint, which may ignore it", None)
    extra: dict[str, Parameter] = semantic(
        "further parameters of the request body, sent unchanged: numbers, texts, lists and maps, such as vLLM's "
        "`top_k` or `chat_template_kwargs: {enable_thinking: false}`",
        {},
    )
    stop: Annotated[tuple[str, ...], Field(strict=False)] = semantic(
        "strings that end an answer; an answer holds none of them", ()
    )
    reasoning: Reasoning | None = semantic(
        "on, off, or the largest number of tokens of a model's reasoning before its answer, where the model lets it be "
        "set; the model's own way when absent",
        None,
    )

    @model_serializer(mode="wrap")
    def _leave_out_newer(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        values: dict[str, object] = dump(self)
        return {name: value for name, value in values.items() if value or name not in _NEWER}

    @cached_property
    def values(self) -> dict[str, object]:
        """The fields by name, computed once, since every record holds them. Callers must not change the dict."""
        return self.model_dump()


_NEWER = frozenset({"stop", "reasoning"})


class Price(Frozen):
    """The price of a model's tokens."""

    input: Number = execution("price of input tokens", unit="USD per million tokens", ge=0)
    output: Number = execution("price of output tokens", unit="USD per million tokens", ge=0)
    batch: Share = execution("price of a request in batch mode, as a share of the prices above", 0.5)


FREE = Price(input=0.0, output=0.0)


class Azure(Frozen):
    """The settings that Azure OpenAI needs beyond those of OpenAI."""

    api_version: str = execution("version of Azure's API, such as 2024-10-21", min_length=1)
    deployment: str | None = execution("name of the model's deployment; the model's own name when absent", None)


class EndpointSettings(Frozen):
    """The address of a model and the limits for asking it. They are never part of an id."""

    kind: Literal["openai", "local", "vllm", "solver", "replay", "reference"]
    base_url: str | None = None  # None is the openai package's default
    api_key_env: str = "OPENAI_API_KEY"  # the *name* of the variable that holds the key
    azure: Azure | None = None
    headers: dict[str, str] = {}  # further headers of each request -> the *names* of the variables with their values
    path: str | None = None  # vllm: the folder of the model's weights; None: the model's name is passed
    arguments: tuple[str, ...] = ()  # vllm: further arguments of its command line
    start_seconds: float = 1800.0  # vllm: the longest time until the server is healthy
    batch: int | None = None  # local: the number of prompts generated together; None: chosen for the device
    mode: Literal["online", "batch", "auto"] = "online"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int = 32  # the most requests in flight
    ready_within_seconds: float = 0.0  # openai: the longest wait for a server that refuses connections at first
    timeout_seconds: float = 120.0
    attempts: int = 6  # per request, before its failure is final
    may_omit: bool = False  # a decoding setting that the model refuses is left out, and the answer is marked
    price: Price = FREE
    budget_usd: float | None = None  # the cap on all spending under `budget_name`
    budget_name: str = ""  # the experiment's name, since its jobs share one budget


SOLVER_VERSION = 1  # part of a request's origin; raise it if the embedded teacher's answers change
