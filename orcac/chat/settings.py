"""How a model is asked, as values: what determines an answer (`Sampling`) and what does not (`EndpointSettings`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from orcac.fields import Count, Number, Share, Whole, execution, semantic
from orcac.recipe import Frozen

OPENAI_URL = "https://api.openai.com/v1"  # where the openai package asks if nobody names an address


class Sampling(Frozen):
    """The decoding parameters that are sent with each request."""

    temperature: Number = semantic("randomness of decoding; the paper's is 0.7", 1.0, ge=0, le=2)
    top_p: Number = semantic("nucleus of the sampling; the paper's is 0.95", 1.0, gt=0, le=1)
    max_tokens: Count = semantic("the longest answer", 1024, unit="tokens", le=2**31 - 1)
    seed: Whole | None = semantic("sent to the endpoint, which may honour it", None)
    extra: dict[str, int | float | str | bool] = semantic(
        "further parameters of the request body, sent unchanged (vLLM's `top_k`, for example)", {}
    )

    @cached_property
    def values(self) -> dict[str, Any]:
        """The fields by name, made once: every record holds them. Not to be changed."""
        return self.model_dump()


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
    """Where a model is and how hard it may be asked. Never part of an id."""

    kind: Literal["openai", "local", "vllm", "solver", "replay", "reference"]
    base_url: str | None = None  # None is the openai package's default
    api_key_env: str = "OPENAI_API_KEY"  # the *name* of the variable that holds the key
    azure: Azure | None = None
    path: str | None = None  # vllm: the folder of the model's weights; None: as the model is called
    arguments: tuple[str, ...] = ()  # vllm: further ones of its command line
    start_seconds: float = 1800.0  # vllm: until it is healthy
    batch: int = 16  # local: prompts that are answered at once
    mode: Literal["online", "batch", "auto"] = "online"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int = 32  # requests in flight, at most
    timeout_seconds: float = 120.0
    attempts: int = 6  # for each request, before its failure is final
    price: Price = FREE
    budget_usd: float | None = None  # never exceeded by all that is asked under `budget_name`
    budget_name: str = ""  # the experiment's name: its jobs spend from one budget


SOLVER_VERSION = 1  # raise it when the embedded teacher would word or decide an answer differently
